package export

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"

	"iocpipe/extract"
)

// rsyslog writes a lookup table of rsyslog: https://www.rsyslog.com/doc/configuration/lookup_tables.html. A value is
// the verdict and, behind a blank, the sources that say so.
type rsyslog struct{ rows int }

func newRsyslog(Options) encoder { return &rsyslog{} }

func (t *rsyslog) open(dst []byte) []byte {
	return append(dst, `{"version":1,"nomatch":"","type":"string","table":[`...)
}

func (t *rsyslog) record(dst []byte, r *record) ([]byte, Reason) {
	if why := exact(r); why != "" {
		return dst, why
	}
	dst = separated(dst, &t.rows)
	return appendJSON(dst, struct {
		Index string `json:"index"`
		Value string `json:"value"`
	}{r.Text(), strings.TrimSpace(r.verdict.String() + " " + oneLine(strings.Join(r.sources(), ",")))}), ""
}

func (t *rsyslog) close(dst []byte) []byte { return append(dst, "\n]}\n"...) }

// separated begins the next element of a JSON array on a line of its own.
func separated(dst []byte, n *int) []byte {
	if *n++; *n > 1 {
		dst = append(dst, ',')
	}
	return append(dst, '\n')
}

// appendJSON appends v as compact JSON without HTML's escapes.
func appendJSON(dst []byte, v any) []byte {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(fmt.Sprintf("export: %T is not JSON: %v", v, err)) // all are structs of strings, numbers and lists
	}
	return append(dst, strings.TrimSuffix(b.String(), "\n")...)
}

// syslogNG writes selector, name and value as add-contextual-data() of syslog-ng reads them: one record per line, all
// quoted, and values that are templates (from @version 3.21), in which a dollar is doubled.
type syslogNG struct{ plain }

func newSyslogNG(Options) encoder { return syslogNG{} }

func (syslogNG) record(dst []byte, r *record) ([]byte, Reason) {
	if why := exact(r); why != "" {
		return dst, why
	}
	for _, pair := range [...]struct{ name, value string }{
		{"iocpipe.verdict", r.verdict.String()},
		{"iocpipe.source", strings.Join(r.sources(), ",")},
		{"iocpipe.tags", strings.Join(r.tags(), ",")},
		{"iocpipe.reference", firstOf(r.references())},
	} {
		if pair.value != "" {
			value := strings.ReplaceAll(oneLine(pair.value), "$", "$$")
			dst = append(dst, quoted(r.Text())+","+pair.name+","+quoted(value)+"\n"...)
		}
	}
	return dst, ""
}

// cdb writes a list for Wazuh: https://documentation.wazuh.com/current/user-manual/ruleset/cdb-list.html. Keys with
// colons are quoted; in address lists 192.0.2. stands for a network of whole octets, so that others are written as
// several of these.
type cdb struct {
	networks map[string]bool // keys that were written for networks, the first maxNetworkKeys of them
}

// maxNetworkKeys bounds how many keys of networks are held so that they are written once: keys should be unique, and of
// two equal ones Wazuh takes the first. (An address that comes before its network may be there twice, too.)
const maxNetworkKeys = 1 << 20

func newCDB(Options) encoder { return cdb{map[string]bool{}} }

// maxCDBLine is the longest line that Wazuh reads, in bytes.
const maxCDBLine = 65_000

func (cdb) open(dst []byte) []byte  { return dst }
func (cdb) close(dst []byte) []byte { return dst }

func (c cdb) record(dst []byte, r *record) ([]byte, Reason) {
	verdict := r.verdict.String()
	switch key := r.Text(); {
	case r.Below:
		return dst, NamesBelow
	case r.Net.IsValid() && !r.Net.Addr().Is4():
		return dst, IPv6Networks
	case r.Net.IsValid():
		return c.network(dst, r.Net, verdict), ""
	case strings.Contains(key, `"`):
		return dst, Unwritable
	case len(key) > maxCDBLine:
		return dst, TooLong
	case strings.Contains(key, ":"):
		return append(dst, `"`+key+`":`+verdict+"\n"...), ""
	case r.Key.Type == extract.IP && c.networks[key]: // keys must be unique
		return dst, ""
	default:
		return append(dst, key+":"+verdict+"\n"...), ""
	}
}

// network appends the keys that cover a network of IPv4: at most 128.
func (c cdb) network(dst []byte, network netip.Prefix, verdict string) []byte {
	octets := max(1, (network.Bits()+7)/8)
	addr := network.Addr().As4()
	for range 1 << (8*octets - network.Bits()) {
		key := ""
		for _, octet := range addr[:octets] {
			key += fmt.Sprintf("%d.", octet)
		}
		if octets == len(addr) {
			key = strings.TrimSuffix(key, ".")
		}
		if !c.networks[key] {
			if len(c.networks) < maxNetworkKeys {
				c.networks[key] = true
			}
			dst = append(dst, key+":"+verdict+"\n"...)
		}
		addr[octets-1]++ // does not carry: the network ends with this octet
	}
	return dst
}
