package format

import (
	"bufio"
	"fmt"
	"strings"
	"time"

	"github.com/valyala/fastjson"

	"iocpipe/extract"
	"iocpipe/intel"
)

// The feeds of abuse.ch come as CSV, as JSON exports and as answers of an API; each has the same fields in all three,
// by slightly different names.
var abuseFeeds = map[Kind]func(*list, record) error{
	URLhaus:       (*list).addURLhaus,
	ThreatFox:     (*list).addThreatFox,
	Feodo:         (*list).addFeodo,
	MalwareBazaar: (*list).addMalwareBazaar,
}

func (l *list) readAbuse(in *bufio.Reader) error {
	add := abuseFeeds[l.kind]
	if first := firstByte(in); first == '{' || first == '[' {
		return l.readAbuseJSON(in, add)
	}
	// The header of MalwareBazaar has named fewer columns than its rows have.
	return l.readRows(in, l.kind == MalwareBazaar, func(_ columns, get record) error { return add(l, get) })
}

// readAbuseJSON reads an array of records, an object that holds records by their ids, the answer of an API, which has
// them in "data", "urls" or "payloads", or one record after the other.
func (l *list) readAbuseJSON(in *bufio.Reader, add func(*list, record) error) error {
	d := newJSON(in)
	l.where = d.where
	return d.documents(func() error {
		if d.peek() == '[' {
			return l.eachRecord(d, "", add)
		}
		own := make(map[string]string) // the object's fields, when it is a record itself
		err := d.object(func(key string) error {
			if isNumber(key) || key == "data" || key == "urls" || key == "payloads" {
				return l.eachRecord(d, key, add)
			}
			v, err := l.usableValue(d)
			if v == nil {
				return err
			}
			if key == "query_status" {
				return queryStatus(textOf(v))
			}
			if len(own) < maxNames {
				own[key] = flat(v)
			}
			return nil
		})
		get := record(func(name string) string { return own[name] })
		if err != nil || get.first(valueColumns...) == "" {
			return err
		}
		return add(l, get)
	})
}

// queryStatus returns the error that an API answers with.
func queryStatus(status string) error {
	switch status {
	case "", "ok", "is_host", "is_listed":
		return nil
	}
	return fmt.Errorf("query_status is %q", shorten(status))
}

// eachRecord reads one record or an array of them; id is the record's when it has none itself.
func (l *list) eachRecord(d *jsonReader, id string, add func(*list, record) error) error {
	if d.peek() == '[' {
		return d.array(func() error { return l.eachRecord(d, id, add) })
	}
	v, err := l.usableValue(d)
	if v == nil {
		return err
	}
	if v.Type() != fastjson.TypeObject {
		l.refuse(string(v.MarshalTo(nil)), errNoRecord)
		return nil
	}
	return add(l, func(name string) string {
		value := v.Get(name)
		if value == nil && (name == "id" || name == "ioc_id") {
			return id
		}
		return flat(value)
	})
}

// flat returns a JSON value as CSV has it.
func flat(v *fastjson.Value) string {
	if v == nil {
		return ""
	}
	if v.Type() != fastjson.TypeArray {
		return field(textOf(v))
	}
	var parts []string
	for _, item := range v.GetArray() {
		if text := textOf(item); text != "" {
			parts = append(parts, text)
		}
	}
	return strings.Join(parts, ",")
}

// times reads fields as times.
func (r record) times(names ...string) ([]time.Time, error) {
	times := make([]time.Time, len(names))
	for i, name := range names {
		var err error
		for alias := range strings.SplitSeq(name, "|") {
			if times[i], err = parseTime(r(alias)); err != nil || !times[i].IsZero() {
				break
			}
		}
		if err != nil {
			return nil, err
		}
	}
	return times, nil
}

// addURLhaus takes a URL that has spread malware. Whether it still does is told by url_status; it is listed either way.
// Source: https://urlhaus.abuse.ch/api/
func (l *list) addURLhaus(get record) error {
	times, err := get.times("dateadded|date_added|firstseen", "last_online|lastseen")
	if err != nil {
		l.refuse(get("url"), err)
		return nil
	}
	if get("url") == "" && get.first(hashColumns...) != "" { // an answer about payloads
		return l.addSample(get, func() (*intel.Statement, error) {
			return l.statement(malicious, intel.Report{First: times[0], Last: times[1], Tags: tagsOf(get("signature"))}), nil
		})
	}
	link := get.first("urlhaus_link", "urlhaus_reference")
	return l.addTyped(get("url"), aURL, l.statement(malicious, intel.Report{
		First: times[0], Last: times[1], Permalink: webPage(link), Tags: tagsOf(get("threat"), get("tags")),
	}))
}

// threatFoxLife is after how long ThreatFox drops what it has not seen again.
const threatFoxLife = 180 * day

// addThreatFox takes an indicator of compromise. A host that is itself compromised belongs to a victim and serves
// others, too, so that it is undecided, as is what the reporter is less than half sure of.
// Source: https://threatfox.abuse.ch/export/
func (l *list) addThreatFox(get record) error {
	value, name := get.first("ioc_value", "ioc"), get("ioc_type")
	want, err := typeOf(name)
	times, errTime := get.times("first_seen_utc|first_seen", "last_seen_utc|last_seen")
	if err == nil {
		err = errTime
	}
	if err != nil {
		l.refuse(value, err)
		return nil
	}
	votes := malicious
	if compromised := strings.ToLower(get("is_compromised")); compromised == "true" || compromised == "1" ||
		unsure(get.first("confidence_level")) {
		votes = undecided
	}
	r := intel.Report{
		First: times[0], Last: times[1], References: listOf(get("reference")),
		Tags: tagsOf(get.first("malware_printable", "malware"), get("malware_alias"), get("tags")),
	}
	if id := get.first("ioc_id", "id"); isNumber(id) {
		r.Permalink = "https://threatfox.abuse.ch/ioc/" + id + "/"
	}
	s := l.statement(votes, r)
	s.Expires = l.expiry(threatFoxLife, times...)
	return l.addTyped(value, want, s)
}

// feodoLife is how long a botnet's server is believed to be one after it was last online.
const feodoLife = 30 * day

// addFeodo takes a command and control server. Source: https://feodotracker.abuse.ch/blocklist/
func (l *list) addFeodo(get record) error {
	value := get.first("dst_ip", "ip_address")
	times, err := get.times("first_seen_utc|first_seen", "last_online")
	if err != nil {
		l.refuse(value, err)
		return nil
	}
	s := l.statement(malicious, intel.Report{First: times[0], Last: times[1], Tags: tagsOf(get("malware"))})
	s.Expires = l.expiry(feodoLife, times...)
	return l.addTyped(value, anIP, s)
}

// addMalwareBazaar takes a sample under all its hashes. Source: https://bazaar.abuse.ch/export/
func (l *list) addMalwareBazaar(get record) error {
	return l.addSample(get, func() (*intel.Statement, error) {
		times, err := get.times("first_seen_utc|first_seen", "last_seen")
		if err != nil {
			return nil, err
		}
		r := intel.Report{
			First: times[0], Last: times[1], Tags: tagsOf(get("signature"), get("tags")),
			Scans: namesOf(get("signature"), get("clamav")),
		}
		if key, ok := extract.ParseKey(get("sha256_hash")); ok && key.Type == extract.SHA256 {
			r.Permalink = "https://bazaar.abuse.ch/sample/" + key.Value + "/"
		}
		return l.statement(malicious, r), nil
	})
}

// namesOf returns the texts that hold something, each as one name.
func namesOf(texts ...string) (names []string) {
	for _, text := range texts {
		names = appendName(names, text)
	}
	return names
}

func isNumber(s string) bool {
	return s != "" && len(s) < 20 && !strings.ContainsFunc(s, func(r rune) bool { return r < '0' || r > '9' })
}

// webPage returns link when it leads to a page that a browser may open.
func webPage(link string) string {
	bad := func(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '<' || r == '>' }
	if !strings.HasPrefix(link, "https://") && !strings.HasPrefix(link, "http://") || strings.ContainsFunc(link, bad) {
		return ""
	}
	return link
}
