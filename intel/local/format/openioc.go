package format

import (
	"bufio"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"

	"iocpipe/intel"
)

// openIOCTerms are the terms of OpenIOC that hold what is looked for.
// Source: the terms of https://github.com/mandiant/OpenIOC_1.1
var openIOCTerms = map[string]types{
	"PortItem/remoteIP": anIP | aNetwork, "ProcessItem/PortList/PortItem/remoteIP": anIP | aNetwork,
	"RouteEntryItem/Destination": anIP | aNetwork,
	"Network/DNS":                aDomain, "DnsEntryItem/Host": aDomain, "DnsEntryItem/RecordName": aDomain,
	"UrlHistoryItem/HostName": aDomain, "UrlHistoryItem/URL": aURL, "Network/URI": aURL,
	"FileItem/Md5sum": aHash, "FileItem/Sha1sum": aHash, "FileItem/Sha256sum": aHash,
	"DriverItem/Md5sum": aHash, "ServiceItem/pathmd5sum": aHash, "ServiceItem/serviceDLLmd5sum": aHash,
	"Email/From": anEmail,
}

// maxXML bounds an OpenIOC file, whose parser holds whole texts, in bytes.
const maxXML = 64 << 20

var errNotSingle = unwanted{errors.New("not a single value")}

// readOpenIOC reads OpenIOC 1.0 and 1.1: items that are met by a value alone. What is joined by AND, negated, or
// compared otherwise than by "is", is not.
func (l *list) readOpenIOC(in *bufio.Reader) error {
	limited := &io.LimitedReader{R: in, N: maxXML}
	d := xml.NewDecoder(limited)
	d.Strict = false
	d.CharsetReader = func(_ string, r io.Reader) (io.Reader, error) { return r, nil }
	r := iocReader{list: l, xml: d}
	l.where = func() string {
		line, _ := d.InputPos()
		return fmt.Sprintf("line %d", line)
	}
	for {
		token, err := d.Token()
		switch {
		case err == io.EOF && limited.N > 0:
			return nil
		case limited.N <= 0:
			return fmt.Errorf("%s: the file is larger than %d MiB", l.where(), maxXML>>20)
		case err != nil:
			return fmt.Errorf("%s: not XML: %w", l.where(), err)
		}
		if err := r.token(token); err != nil {
			return err
		}
	}
}

// An iocReader is an OpenIOC file while it is read.
type iocReader struct {
	*list
	xml        *xml.Decoder
	tags       []string
	references []string
	statement  *intel.Statement

	ands      int    // how many of the indicators around are joined by AND
	operators []bool // of the indicators around: whether AND
	single    bool   // whether the item at hand is met by one value
	search    string
	text      string // of the element at hand
}

func (r *iocReader) token(token xml.Token) error {
	switch t := token.(type) {
	case xml.StartElement:
		r.text = ""
		r.start(t)
	case xml.CharData:
		if len(r.text)+len(t) <= maxListLine {
			r.text += string(t)
		}
	case xml.EndElement:
		return r.end(t.Name.Local)
	}
	return nil
}

func (r *iocReader) start(t xml.StartElement) {
	attribute := func(name string) string {
		for _, a := range t.Attr {
			if a.Name.Local == name {
				return a.Value
			}
		}
		return ""
	}
	switch t.Name.Local {
	case "link":
		r.references = appendName(r.references, webPage(attribute("href")))
	case "Indicator":
		and := strings.EqualFold(attribute("operator"), "AND")
		r.operators = append(r.operators, and)
		if and {
			r.ands++
		}
	case "IndicatorItem":
		r.single = r.ands == 0 && attribute("condition") == "is" && attribute("negate") != "true"
		r.search = ""
	case "Context":
		r.search = attribute("search")
	}
}

func (r *iocReader) end(name string) error {
	text := strings.TrimSpace(r.text)
	r.text = ""
	switch name {
	case "short_description":
		r.tags = appendName(r.tags, text)
	case "link":
		r.references = appendName(r.references, webPage(text))
	case "Indicator":
		if n := len(r.operators) - 1; n >= 0 {
			if r.operators[n] {
				r.ands--
			}
			r.operators = r.operators[:n]
		}
	case "Content":
		return r.item(text)
	}
	return nil
}

// item takes the value of an item.
func (r *iocReader) item(value string) error {
	want, ok := openIOCTerms[r.search]
	switch {
	case !r.single:
		r.refuse(value, errNotSingle)
		return nil
	case !ok:
		r.refuse(value, other(r.search))
		return nil
	}
	if r.statement == nil {
		r.statement = r.list.statement(malicious, intel.Report{Tags: r.tags, References: r.references})
	}
	return r.addTyped(value, want, r.statement)
}
