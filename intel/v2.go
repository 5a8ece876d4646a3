package intel

import (
	"bytes"
	"errors"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/valyala/fastjson"

	"iocpipe/extract"
)

const (
	// maxValues bounds the JSON values of one report. A value takes about 80 bytes once parsed, so that a few
	// megabytes of brackets could claim hundreds; of real values, not even the longest answer comes near.
	maxValues = 1 << 19

	// maxPooled is the size in bytes of the largest report whose parser is kept for the next one.
	maxPooled = 1 << 20
)

const (
	hashTypes = 1<<extract.MD5 | 1<<extract.SHA1 | 1<<extract.SHA256 | 1<<extract.SHA512
	ipType    = 1 << extract.IP
	avType    = 1 << extract.Antivirus
	mailType  = 1 << extract.Email
	nameType  = 1 << extract.Domain
)

// v2Lists are the plain lists of a v2 report, in an order that agrees with that of every object's answers.
var v2Lists = [...]struct {
	name  string
	types extract.TypeSet // the types whose answers hold the list even when it is empty
	clean func(string) string
	of    func(*Report) *[]string
}{
	{"hashes", nameType | ipType | avType, hash, func(r *Report) *[]string { return &r.Hashes }},
	{"emails", nameType, email, func(r *Report) *[]string { return &r.Emails }},
	{"subdomains", nameType, domain, func(r *Report) *[]string { return &r.Subdomains }},
	{"scans", hashTypes, asWritten, func(r *Report) *[]string { return &r.Scans }},
	{"ips", hashTypes, address, func(r *Report) *[]string { return &r.IPs }},
	{"domains", mailType | hashTypes, domain, func(r *Report) *[]string { return &r.Domains }},
	{"references", extract.AllTypes, asWritten, func(r *Report) *[]string { return &r.References }},
}

// resolutionTypes are the types whose answers hold passive DNS.
const resolutionTypes extract.TypeSet = nameType | ipType

var parsers fastjson.ParserPool

// ParseReport reads the answer of the ThreatCrowd v2 API about an indicator of any type. The whole of data must be one
// JSON object with a response_code, text or number, after blanks and a byte order mark; otherwise it is an error, which
// names the field and quotes nothing. response_code 1 is a known indicator, and so is 200 beside a report's fields; any
// other is an unknown one. Votes other than -1, 0 and 1 are an error.
//
// What the API is known to mix into its lists is dropped without a word: blanks, placeholders, the address 0.0.0.0,
// values that are not of the list's kind, duplicates (of a resolution, the latest day stays). A list that is missing,
// null or no list is empty. Unknown fields are ignored. The report shares no memory with data.
func ParseReport(data []byte) (r Report, err error) {
	err = withObject(data, func(v *fastjson.Value) error {
		r, err = readReport(v)
		return err
	})
	return r, err
}

// withObject calls read with the JSON object that data holds; it is valid until read returns.
func withObject(data []byte, read func(*fastjson.Value) error) error {
	data = trimStart(data)
	switch {
	case len(data) == 0:
		return errors.New("body is empty")
	case data[0] != '{':
		return errors.New("body does not begin with a JSON object")
	case countValues(data) > maxValues:
		return errors.New("body holds more than " + strconv.Itoa(maxValues) + " values")
	}
	p := parsers.Get()
	if len(data) <= maxPooled {
		defer parsers.Put(p)
	}
	v, err := p.ParseBytes(data)
	if err != nil { // the error quotes the body, which names the indicator
		return errors.New("body is cut off, or not one JSON object")
	}
	return read(v)
}

// trimStart returns data without the blanks and the byte order mark before its first token.
func trimStart(data []byte) []byte {
	const blanks = " \t\r\n"
	data = bytes.TrimPrefix(bytes.TrimLeft(data, blanks), []byte("\ufeff"))
	return bytes.TrimLeft(data, blanks)
}

// countValues returns an upper bound of the JSON values in data.
func countValues(data []byte) int {
	n := 1
	for _, mark := range []string{",", "[", "{"} {
		n += bytes.Count(data, []byte(mark))
	}
	return n
}

func readReport(v *fastjson.Value) (Report, error) {
	known, err := isKnown(v)
	if err != nil || !known {
		return Report{}, err
	}
	r := Report{
		Known:       true,
		Resolutions: resolutions(v.GetArray("resolutions")),
		MD5:         hashOf(extract.MD5, text(v.Get("md5"))),
		SHA1:        hashOf(extract.SHA1, text(v.Get("sha1"))),
		Permalink:   page(text(v.Get("permalink"))),
		Tags:        values(v.GetArray("tags"), asWritten),
		First:       moment(text(v.Get("first_seen"))),
		Last:        moment(text(v.Get("last_seen"))),
	}
	for _, list := range v2Lists {
		*list.of(&r) = values(v.GetArray(list.name), list.clean)
	}
	if r.Votes, r.Voted, err = votes(v.Get("votes")); err != nil {
		return Report{}, err
	}
	return r, nil
}

// isKnown reads response_code. The API writes it as text; mocks and other servers write a number, some the HTTP status.
func isKnown(v *fastjson.Value) (bool, error) {
	code := v.Get("response_code")
	if code == nil || code.Type() != fastjson.TypeString && code.Type() != fastjson.TypeNumber {
		return false, errors.New("response_code is missing, or neither text nor number")
	}
	n, ok := number(code)
	return ok && (n == 1 || n == 200 && hasFields(v)), nil
}

// hasFields reports whether v has any field of a report.
func hasFields(v *fastjson.Value) bool {
	for _, list := range v2Lists {
		if v.Exists(list.name) {
			return true
		}
	}
	return slices.ContainsFunc([]string{"resolutions", "votes", "permalink", "md5", "sha1"},
		func(field string) bool { return v.Exists(field) })
}

// votes reads the crowd's vote; voted is false when there is none.
func votes(v *fastjson.Value) (vote int8, voted bool, err error) {
	if v == nil || v.Type() == fastjson.TypeNull {
		return 0, false, nil
	}
	n, ok := number(v)
	if !ok || n != -1 && n != 0 && n != 1 {
		return 0, false, errors.New("votes is none of -1, 0 and 1")
	}
	return int8(n), true, nil
}

// number returns the number that v is, or that its text spells.
func number(v *fastjson.Value) (float64, bool) {
	if n, err := v.Float64(); err == nil {
		return n, true
	}
	n, err := strconv.ParseFloat(text(v), 64)
	return n, err == nil
}

// text returns the string v without surrounding blanks, or "" when v is missing, no string, or a placeholder.
func text(v *fastjson.Value) string {
	if v == nil {
		return ""
	}
	raw, err := v.StringBytes()
	if err != nil {
		return ""
	}
	return trim(string(raw))
}

// trim returns s without surrounding blanks, or "" for the placeholder "-"; what is not UTF-8 becomes U+FFFD.
func trim(s string) string {
	s = strings.TrimSpace(strings.ToValidUTF8(s, "\ufffd"))
	if s == "-" {
		return ""
	}
	return s
}

// values returns the texts of items as clean returns them, without those it returns as "" and without duplicates.
func values(items []*fastjson.Value, clean func(string) string) []string {
	var list []string
	seen := make(map[string]bool, len(items))
	for _, item := range items {
		if value := clean(text(item)); value != "" && !seen[value] {
			seen[value] = true
			list = append(list, value)
		}
	}
	return list
}

// resolutions reads passive DNS: of a domain the addresses, of an address the domains.
func resolutions(items []*fastjson.Value) []Resolution {
	var list []Resolution
	at := make(map[string]int, len(items))
	for _, item := range items {
		value := address(text(item.Get("ip_address")))
		if value == "" {
			value = domain(text(item.Get("domain")))
		}
		if value == "" {
			continue
		}
		last := day(text(item.Get("last_resolved")))
		if i, ok := at[value]; ok {
			list[i].Last = later(list[i].Last, last)
			continue
		}
		at[value] = len(list)
		list = append(list, Resolution{value, last})
	}
	return list
}

// page returns link when a person may follow it: http or https, without a character that hides or turns what is
// written. Anything else in the place of a permalink is somebody's trick.
func page(link string) string {
	u, err := url.Parse(link)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return ""
	}
	if strings.ContainsFunc(link, func(r rune) bool { return !unicode.IsGraphic(r) || unicode.Is(unicode.Bidi_Control, r) }) {
		return ""
	}
	return link
}

// day returns the day that s spells, or the zero time: for "0000-00-00", for other nonsense, and for the first day of
// Unix time, which is an unset field and not an observation.
func day(s string) time.Time {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil || t.Unix() <= 0 {
		return time.Time{}
	}
	return t
}

// moment returns the time that s spells, as RFC 3339 or as a day, or the zero time.
func moment(s string) time.Time {
	if t, err := time.Parse(time.RFC3339, s); err == nil && t.Unix() > 0 {
		return t.UTC()
	}
	return day(s)
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// ofType returns the normalised value of s when it is an indicator of one of types, else "".
func ofType(types extract.TypeSet, s string) string {
	if s == "" {
		return ""
	}
	key, ok := extract.ParseKey(s)
	if !ok || !types.Has(key.Type) {
		return ""
	}
	return key.Value
}

func domain(s string) string    { return ofType(nameType, s) }
func email(s string) string     { return ofType(mailType, s) }
func hash(s string) string      { return ofType(hashTypes, s) }
func asWritten(s string) string { return s }

func hashOf(t extract.Type, s string) string { return ofType(1<<t, s) }

// address returns the address s, or "" for none and for 0.0.0.0, with which the API says that a name is parked.
func address(s string) string {
	value := ofType(ipType, s)
	if addr, err := netip.ParseAddr(value); err != nil || addr.IsUnspecified() {
		return ""
	}
	return value
}
