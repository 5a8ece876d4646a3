package intel

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"path"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/valyala/fastjson"

	"iocpipe/extract"
)

// AppendReport appends to dst what r says about key as a report line without its line ending: the v2 object, compact
// and in a fixed order, with the indicator's "type" (a hash is a "file") and "value" before it. As in the API, an
// unknown indicator has nothing but its response_code, every list of the type is there even when empty, votes only
// when there are any, and a day that is not known is 0000-00-00. Lists that the type does not have, and the tags and
// times that the API does not have (tags, first_seen, last_seen), are written when they hold something, so that
// [ParseReportLine] gives back what was written.
func AppendReport(dst []byte, key extract.Key, r *Report) []byte {
	dst = appendString(append(dst, `{"type":`...), lineType(key.Type))
	dst = appendString(append(dst, `,"value":`...), key.Value)
	if !r.Known {
		return append(dst, `,"response_code":"0"}`...)
	}
	dst = append(dst, `,"response_code":"1"`...)
	dst = appendField(dst, "md5", r.MD5)
	dst = appendField(dst, "sha1", r.SHA1)
	if len(r.Resolutions) > 0 || resolutionTypes.Has(key.Type) {
		dst = appendResolutions(dst, r.Resolutions)
	}
	for _, list := range v2Lists {
		if values := *list.of(r); len(values) > 0 || list.types.Has(key.Type) {
			dst = appendList(dst, list.name, values)
		}
	}
	return append(appendVerdict(dst, r), '}')
}

// appendVerdict appends the fields of r after its lists: the API's own, then those that only lists of intelligence fill.
func appendVerdict(dst []byte, r *Report) []byte {
	if r.Voted {
		dst = fmt.Appendf(dst, `,"votes":%d`, r.Votes)
	}
	dst = appendField(dst, "permalink", r.Permalink)
	if len(r.Tags) > 0 {
		dst = appendList(dst, "tags", r.Tags)
	}
	dst = appendMoment(dst, "first_seen", r.First)
	return appendMoment(dst, "last_seen", r.Last)
}

// appendMoment appends a time field, unless it is zero.
func appendMoment(dst []byte, name string, t time.Time) []byte {
	if t.IsZero() {
		return dst
	}
	return appendField(dst, name, t.UTC().Format(time.RFC3339))
}

// lineType returns the API's name for objects of type t.
func lineType(t extract.Type) string {
	if t.IsHash() {
		return "file"
	}
	return t.String()
}

func appendResolutions(dst []byte, resolutions []Resolution) []byte {
	dst = append(dst, `,"resolutions":[`...)
	for i, res := range resolutions {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, `{"last_resolved":"`...)
		dst = appendDay(dst, res.Last)
		dst = append(dst, `","`...)
		dst = append(dst, otherEnd(res.Value)...)
		dst = appendString(append(dst, `":`...), res.Value)
		dst = append(dst, '}')
	}
	return append(dst, ']')
}

func appendDay(dst []byte, t time.Time) []byte {
	if t.IsZero() {
		return append(dst, "0000-00-00"...)
	}
	return t.UTC().AppendFormat(dst, time.DateOnly)
}

// otherEnd names the field of a resolution to value.
func otherEnd(value string) string {
	if _, err := netip.ParseAddr(value); err == nil {
		return "ip_address"
	}
	return "domain"
}

func appendList(dst []byte, name string, values []string) []byte {
	dst = append(append(append(dst, `,"`...), name...), `":[`...)
	for i, value := range values {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendString(dst, value)
	}
	return append(dst, ']')
}

// appendField appends a text field, unless it is empty.
func appendField(dst []byte, name, value string) []byte {
	if value == "" {
		return dst
	}
	dst = append(append(append(dst, `,"`...), name...), `":`...)
	return appendString(dst, value)
}

// appendString appends s as a JSON string; what is not UTF-8 becomes U+FFFD.
func appendString(dst []byte, s string) []byte {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\ufffd")
	}
	dst = append(dst, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c < ' ':
			dst = fmt.Appendf(dst, `\u%04x`, c)
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}

// ParseReportLine reads a report line: a v2 object, as [ParseReport] takes it, that also says whom it is about, with
// "value" and "type" (ip, domain, email, file, antivirus, or a hash by its own name). A line without value is about
// the indicator of its permalink, else about its md5, else its sha1; one without type about what the value looks like.
// Errors name the field and quote nothing.
func ParseReportLine(data []byte) (key extract.Key, r Report, err error) {
	err = withObject(data, func(v *fastjson.Value) error {
		if key, err = lineKey(v); err != nil {
			return err
		}
		r, err = readReport(v)
		return err
	})
	if err != nil {
		return extract.Key{}, Report{}, err
	}
	return key, r, nil
}

// lineKey returns the indicator that the line is about.
func lineKey(v *fastjson.Value) (extract.Key, error) {
	types, err := typesOf(v.Get("type"))
	if err != nil {
		return extract.Key{}, err
	}
	pageTypes, pageValue := subject(text(v.Get("permalink")))
	for _, source := range []struct {
		field string
		types extract.TypeSet
		value string
	}{
		{"value", extract.AllTypes, text(v.Get("value"))},
		{"permalink", pageTypes, pageValue},
		{"md5", 1 << extract.MD5, text(v.Get("md5"))},
		{"sha1", 1 << extract.SHA1, text(v.Get("sha1"))},
	} {
		if source.value != "" {
			return keyOf(source.field, source.value, source.types&types)
		}
	}
	return extract.Key{}, errors.New("value is missing, and neither permalink, md5 nor sha1 tells it")
}

// typesOf returns the types that the field "type" leaves open: all when it is missing.
func typesOf(v *fastjson.Value) (extract.TypeSet, error) {
	if v == nil || v.Type() == fastjson.TypeNull {
		return extract.AllTypes, nil
	}
	name := strings.ToLower(text(v))
	if name == "file" || name == "hash" {
		return hashTypes, nil
	}
	t, ok := extract.ParseType(name)
	if !ok {
		return 0, errors.New("type is none of ip, domain, email, file and antivirus")
	}
	return 1 << t, nil
}

// keyOf returns the key of value, which field holds and which must be of one of types.
func keyOf(field, value string, types extract.TypeSet) (extract.Key, error) {
	if types == avType { // any text may be a detection name, so only the type tells
		return extract.Key{Type: extract.Antivirus, Value: strings.ToLower(value)}, nil
	}
	key, ok := extract.ParseKey(value)
	if !ok || !types.Has(key.Type) {
		return extract.Key{}, fmt.Errorf("%s is no indicator, or not of the line's type", field)
	}
	return key, nil
}

// pages are the pages that permalinks lead to.
var pages = map[string]struct {
	parameter string
	types     extract.TypeSet
}{
	"domain.php":      {"domain", nameType},
	"ip.php":          {"ip", ipType},
	"email.php":       {"email", mailType},
	"malware.php":     {"md5", hashTypes},
	"listMalware.php": {"antivirus", avType},
}

// subject returns the value that a permalink is about, and its types; "" when the link is none of the API's.
func subject(permalink string) (extract.TypeSet, string) {
	link, query, _ := strings.Cut(permalink, "?")
	page, known := pages[path.Base(link)]
	for parameter := range strings.SplitSeq(query, "&") {
		if name, value, _ := strings.Cut(parameter, "="); known && name == page.parameter {
			return page.types, unescape(value)
		}
	}
	return 0, ""
}

// unescape undoes percent-encoding. Permalinks hold values raw, too: a plus is a plus, a stray percent sign itself.
func unescape(value string) string {
	if plain, err := url.PathUnescape(value); err == nil {
		value = plain
	}
	return trim(value)
}
