package format

import (
	"bufio"
	"errors"
	"strings"

	"iocpipe/intel"
)

// otxTypes are the types of OTX indicators that are looked for.
// Source: IndicatorTypes.py of AlienVault-OTX/OTX-Python-SDK
var otxTypes = map[string]types{
	"ipv4": anIP | aNetwork, "ipv6": anIP | aNetwork, "cidr": aNetwork | anIP, "domain": aDomain, "hostname": aDomain,
	"email": anEmail, "url": aURL, "uri": aURL,
	"filehash-md5": aHash, "filehash-sha1": aHash, "filehash-sha256": aHash,
}

// maxTelling is the number of indicators of the largest pulse that accuses: larger ones are dumps, in which anything is.
const maxTelling = 10_000

// readOTX reads pulses: one, an array of them, or a page of those that are subscribed to; and the pages of the export
// of indicators without their pulses.
func (l *list) readOTX(in *bufio.Reader) error {
	d := newJSON(in)
	l.where = d.where
	exported := l.statement(malicious, intel.Report{})
	return d.documents(func() error { return l.otxNode(d, exported) })
}

func (l *list) otxNode(d *jsonReader, exported *intel.Statement) error {
	if d.peek() == '[' {
		return d.array(func() error { return l.otxNode(d, exported) })
	}
	p := pulse{list: l}
	defer p.indicators.Close()
	err := d.object(func(key string) error {
		if key == "results" {
			return l.otxNode(d, exported)
		}
		return p.member(d, key)
	})
	if err != nil {
		return err
	}
	if p.bare.value != "" {
		return l.otxIndicator(&p.bare, exported)
	}
	return p.take()
}

// An otxIndicator is an indicator of a pulse, or of an export.
type otxIndicator struct {
	value, typ       string
	created, expires string
	inactive         bool
}

// A pulse is one pulse while it is read. What it says of its indicators may stand behind them.
type pulse struct {
	*list
	id, tlp    string
	tags       []string
	references []string
	count      int
	indicators spool
	bare       otxIndicator // what stands in the place of a pulse in an export
}

func (p *pulse) member(d *jsonReader, key string) error {
	switch key {
	case "indicators":
		return p.indicators.add(d)
	case "id", "name", "tags", "references", "adversary", "malware_families", "TLP", "tlp",
		"indicator", "type", "expiration", "is_active", "created":
	default:
		return d.skip()
	}
	v, err := p.usableValue(d)
	if v == nil {
		return err
	}
	switch text := textOf(v); key {
	case "id":
		p.id = text
	case "TLP", "tlp":
		p.tlp = text
	case "indicator":
		p.bare.value = text
	case "type":
		p.bare.typ = text
	case "expiration":
		p.bare.expires = text
	case "created":
		p.bare.created = text
	case "is_active":
		p.bare.inactive = !truth(v, true)
	case "references":
		for _, item := range v.GetArray() {
			p.references = appendName(p.references, textOf(item))
		}
	default:
		p.tags = appendName(p.tags, text)
		for _, item := range v.GetArray() {
			p.tags = appendName(p.tags, textOf(item))
			p.tags = appendName(p.tags, textOf(item.Get("display_name"))) // of a malware family
		}
	}
	return nil
}

// take takes the indicators of the pulse, which share what it says.
func (p *pulse) take() error {
	if p.indicators.path == nil {
		return nil
	}
	if strings.EqualFold(p.tlp, "red") && !p.AllowRed {
		p.refuse(p.id, errRed)
		return nil
	}
	if err := p.indicators.each(p.list, p.countOne); err != nil {
		return err
	}
	votes := malicious
	if p.count > maxTelling {
		votes = undecided
	}
	r := intel.Report{Tags: p.tags, References: p.references}
	if isHex(p.id) {
		r.Permalink = "https://otx.alienvault.com/pulse/" + p.id
	}
	shared := p.statement(votes, r)
	return p.indicators.each(p.list, func(d *jsonReader) error {
		v, err := p.usableValue(d)
		if v == nil {
			return err
		}
		return p.otxIndicator(&otxIndicator{
			value: textOf(v.Get("indicator")), typ: textOf(v.Get("type")), created: textOf(v.Get("created")),
			expires: textOf(v.Get("expiration")), inactive: !truth(v.Get("is_active"), true),
		}, shared)
	})
}

func (p *pulse) countOne(d *jsonReader) error {
	p.count++
	return d.skip()
}

// otxIndicator takes one indicator, of which its pulse says shared. One that is no more active has expired.
func (l *list) otxIndicator(i *otxIndicator, shared *intel.Statement) error {
	want, ok := otxTypes[strings.ToLower(i.typ)]
	if !ok {
		l.refuse(i.value, other(i.typ))
		return nil
	}
	created, err := parseTime(i.created)
	expires, errExpires := parseTime(i.expires)
	if err = errors.Join(err, errExpires); err != nil {
		l.refuse(i.value, errBadDate)
		return nil
	}
	if i.inactive && (expires.IsZero() || expires.After(l.Now)) {
		expires = l.expiry(0)
	}
	s := shared
	if !created.IsZero() || !expires.IsZero() {
		own := *shared
		own.Expires, own.Report.First = expires, created
		s = &own
	}
	return l.addTyped(i.value, want, s)
}

func isHex(s string) bool {
	return s != "" && len(s) <= 64 && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'f')
	})
}
