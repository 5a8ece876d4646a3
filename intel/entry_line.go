package intel

import (
	"errors"
	"net/netip"
	"net/url"
	"strings"

	"github.com/valyala/fastjson"

	"iocpipe/extract"
)

// AppendEntry appends e as a report line without its line ending, so that [ParseEntryLine] gives back all of it: the
// line of [AppendReport], with what lists of intelligence say beside it. Value is a network in CIDR notation (type ip),
// *.domain (type domain), or a URL (with the type of its host, which then stands in "host"); "via" and "relation" are
// those of a [Subject], and source, expires, by, added and note those of a [Statement].
func AppendEntry(dst []byte, e *Entry) []byte {
	dst = AppendReport(dst, extract.Key{Type: e.Subject.Type(), Value: e.Subject.Text()}, &e.Report)
	dst = dst[:len(dst)-1]
	if e.URL != "" {
		dst = appendField(dst, "host", e.Key.Value)
	}
	dst = appendField(dst, "via", e.Via.Value)
	if e.Via.Type != extract.None {
		dst = appendField(dst, "via_type", e.Via.Type.String())
	}
	dst = appendField(dst, "relation", e.Relation)
	dst = appendField(dst, "source", e.Source)
	dst = appendMoment(dst, "expires", e.Expires)
	dst = appendField(dst, "by", e.By)
	dst = appendMoment(dst, "added", e.Added)
	dst = appendField(dst, "note", e.Note)
	return append(dst, '}')
}

// Text returns what s is about as lists write it: the indicator, the network in CIDR notation, *.domain, or the URL.
func (s Subject) Text() string {
	switch {
	case s.Net.IsValid():
		return s.Net.String()
	case s.URL != "":
		return s.URL
	case s.Below:
		return "*." + s.Key.Value
	}
	return s.Key.Value
}

// Type returns the type of the indicators that s covers; a URL has that of its host.
func (s Subject) Type() extract.Type {
	if s.Net.IsValid() {
		return extract.IP
	}
	return s.Key.Type
}

// lineSubject returns what the line of an entry is about.
func lineSubject(v *fastjson.Value) (s Subject, err error) {
	if s, err = lineCover(v); err != nil {
		return Subject{}, err
	}
	s.Relation = text(v.Get("relation"))
	if s.Via.Value = text(v.Get("via")); s.Relation == "" || s.Via.Value == "" {
		s.Via, s.Relation = extract.Key{}, ""
		return s, nil
	}
	if name := text(v.Get("via_type")); name != "" {
		var ok bool
		if s.Via.Type, ok = extract.ParseType(name); !ok {
			return Subject{}, errors.New("via_type is no type")
		}
	}
	return s, nil
}

// lineCover returns what the line covers: an indicator, as in any report line, or one of the forms of [Subject.Text].
func lineCover(v *fastjson.Value) (Subject, error) {
	value, host := text(v.Get("value")), text(v.Get("host"))
	if host == "" && strings.Contains(value, "://") {
		if u, err := url.Parse(value); err == nil {
			host = u.Hostname()
		}
	}
	switch name, below := strings.CutPrefix(value, "*."); {
	case text(v.Get("type")) == extract.Antivirus.String(): // its name may look like anything
	case host != "":
		key, ok := extract.ParseKey(host)
		if !ok || key.Type != extract.IP && key.Type != extract.Domain {
			return Subject{}, errors.New("host is neither an address nor a domain")
		}
		return Subject{Key: key, URL: value}, nil
	case below:
		domain, ok := extract.ParseDomain(name)
		if !ok {
			return Subject{}, errors.New("value is no *.domain")
		}
		return Subject{Key: extract.Key{Type: extract.Domain, Value: domain}, Below: true}, nil
	}
	if network, err := netip.ParsePrefix(value); err == nil {
		return Subject{Net: network.Masked()}, nil
	}
	key, err := lineKey(v)
	return Subject{Key: key}, err
}
