package filter

import (
	"bytes"
	"time"

	"github.com/valyala/fastjson"
)

// A Place is where an event stands.
type Place struct {
	Time time.Time // that the line states, or else when it was read
	File string
	Line int64
}

// hostFields are the fields of JSON events that name who met an indicator, the most telling first: ECS, then Zeek's
// originator. What an indicator came to stands last.
var hostFields = [][]string{{"host", "name"}, {"host", "hostname"}, {"source", "ip"}, {"client", "ip"},
	{"user", "name"}, {"agent", "name"}, {"destination", "ip"}, {"server", "ip"}}

// hostNames are the same under dotted or flat names.
var hostNames = []string{"host.name", "host.hostname", "source.ip", "id.orig_h", "user.name", "hostname",
	"host", "src_ip", "user", "destination.ip", "id.resp_h", "dest_ip", "dst_ip"}

// witness returns who met the indicators of a line: the private address in it, which is private unless that is empty,
// the host or user that the line names, the host that logged it, or else nobody. It is nobody that is called like met,
// the indicator itself. It may alias line.
func witness(private string, line []byte, event bool, met string, parser *fastjson.Parser) string {
	switch {
	case private != "":
		return private
	case event:
		return eventHost(line, met, parser)
	}
	if host := syslogHost(line); host != met {
		return host
	}
	return ""
}

func eventHost(line []byte, met string, parser *fastjson.Parser) string {
	start := bytes.IndexByte(line, '{')
	v, err := parser.ParseBytes(line[max(start, 0):])
	if err != nil {
		return ""
	}
	for _, path := range hostFields {
		if host := v.GetStringBytes(path...); len(host) > 0 && string(host) != met {
			return string(host)
		}
	}
	for _, name := range hostNames {
		if host := v.GetStringBytes(name); len(host) > 0 && string(host) != met {
			return string(host)
		}
	}
	return ""
}

// syslogHost returns the host behind the time of a syslog line: RFC 3164, RFC 5424, or an ISO time in front.
func syslogHost(line []byte) string {
	const bsd = 3 // Mar  4 09:15:22 host
	var fields [bsd + 1][]byte
	n := 0
	for field := range bytes.FieldsSeq(line[:min(len(line), 160)]) {
		if n == 0 && len(field) != len("Mar") && len(field) <= len("2006-01-02T15:04:05") && field[0] != '<' {
			return "" // most often
		}
		fields[n] = field
		if n++; n == len(fields) {
			break
		}
	}
	switch first := fields[0]; {
	case n > bsd && len(first) == 3 && len(fields[2]) == len("09:15:22") && fields[2][2] == ':':
		return string(fields[bsd])
	case n > 2 && len(first) > 2 && first[0] == '<' && first[len(first)-1] == '1':
		return string(fields[2])
	case n > 1 && len(first) > len("2006-01-02T15:04:05") && first[len("2006-01-02")] == 'T':
		return string(fields[1])
	}
	return ""
}
