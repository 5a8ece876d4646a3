package format

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/valyala/fastjson"

	"iocpipe/extract"
	"iocpipe/intel"
)

// mispLife is how long an attribute is believed after it was last touched or seen. The format has no expiry: instances
// let attributes decay by models of their own.
const mispLife = 365 * day

// mispTypes are the types of attributes that are looked for, by what of them is: of a composite type, "a|b", those of
// its parts; 0 for a part that is passed over. toIDs is whether an attribute accuses that does not say so itself.
// Source: describeTypes.json of PyMISP, https://www.misp-standard.org/rfc/misp-standard-core.html
var mispTypes = map[string]struct {
	parts [2]types
	toIDs bool
}{
	"ip-src": {parts: [2]types{anIP | aNetwork}, toIDs: true},
	"ip-dst": {parts: [2]types{anIP | aNetwork}, toIDs: true},
	"domain": {parts: [2]types{aDomain}, toIDs: true}, "hostname": {parts: [2]types{aDomain}, toIDs: true},
	"url": {parts: [2]types{aURL}, toIDs: true},
	"md5": {parts: [2]types{aHash}, toIDs: true}, "sha1": {parts: [2]types{aHash}, toIDs: true},
	"sha256": {parts: [2]types{aHash}, toIDs: true}, "sha512": {parts: [2]types{aHash}, toIDs: true},
	"email": {parts: [2]types{anEmail}, toIDs: true}, "email-src": {parts: [2]types{anEmail}, toIDs: true},
	"email-dst": {parts: [2]types{anEmail}, toIDs: true}, "email-reply-to": {parts: [2]types{anEmail}},
	"whois-registrant-email": {parts: [2]types{anEmail}}, "dns-soa-email": {parts: [2]types{anEmail}},
	"domain|ip":       {parts: [2]types{aDomain, anIP}, toIDs: true},
	"ip-src|port":     {parts: [2]types{anIP | aNetwork}, toIDs: true},
	"ip-dst|port":     {parts: [2]types{anIP | aNetwork}, toIDs: true},
	"hostname|port":   {parts: [2]types{aDomain}, toIDs: true},
	"filename|md5":    {parts: [2]types{0, aHash}, toIDs: true},
	"filename|sha1":   {parts: [2]types{0, aHash}, toIDs: true},
	"filename|sha256": {parts: [2]types{0, aHash}, toIDs: true},
	"filename|sha512": {parts: [2]types{0, aHash}, toIDs: true},
	"malware-sample":  {parts: [2]types{0, aHash}, toIDs: true},
}

// readMISP reads events: one, as {"Event":…} or bare, an array of them, or the answer of a search, {"response":[…]}.
func (l *list) readMISP(in *bufio.Reader) error {
	d := newJSON(in)
	l.where = d.where
	return d.documents(func() error { return l.mispEvents(d) })
}

func (l *list) mispEvents(d *jsonReader) error {
	if d.peek() == '[' {
		return d.array(func() error { return l.mispEvents(d) })
	}
	e := mispEvent{list: l}
	defer e.attributes.Close()
	defer e.objects.Close()
	if err := d.object(func(key string) error { return e.member(d, key) }); err != nil {
		return err
	}
	return e.finish()
}

// A mispEvent is one event while it is read. What marks all of its attributes may stand behind them.
type mispEvent struct {
	*list
	info       string
	time       time.Time
	tags       []string
	red        bool
	benign     bool
	attributes spool
	objects    spool
	references []string
}

func (e *mispEvent) member(d *jsonReader, key string) error {
	switch key {
	case "Event", "response":
		return e.mispEvents(d)
	case "Attribute":
		return e.attributes.add(d)
	case "Object":
		return e.objects.add(d)
	case "info", "timestamp", "date", "Tag":
	default:
		return d.skip()
	}
	v, err := e.usableValue(d)
	if v == nil {
		return err
	}
	switch key {
	case "info":
		e.info = strings.ToValidUTF8(textOf(v)[:min(len(textOf(v)), maxName)], "")
	case "Tag":
		e.tags, e.red, e.benign = mispTags(e.tags, v)
	default:
		t, err := parseTime(textOf(v))
		if err != nil {
			e.refuse(textOf(v), err)
		}
		e.time = latest(e.time, t)
	}
	return nil
}

// mispTags appends the names of tags, and tells what they say about who may know it, and about mistakes.
func mispTags(tags []string, list *fastjson.Value) (all []string, red, good bool) {
	for _, tag := range list.GetArray() {
		name := textOf(tag.Get("name"))
		lower := strings.ToLower(name)
		red = red || lower == "tlp:red"
		good = good || strings.HasPrefix(lower, "false-positive:")
		tags = appendName(tags, name)
	}
	return tags, red, good
}

var errRed = unwanted{errors.New("is marked TLP:RED, for named recipients alone")}

// finish takes what the event lists.
func (e *mispEvent) finish() error {
	if e.attributes.path == nil && e.objects.path == nil {
		return nil
	}
	if e.red && !e.AllowRed {
		e.refuse(e.info, errRed)
		return nil
	}
	if err := e.collectReferences(); err != nil {
		return err
	}
	err := e.attributes.each(e.list, func(d *jsonReader) error {
		v, err := e.usableValue(d)
		if v == nil {
			return err
		}
		return e.attribute(v, nil)
	})
	if err != nil {
		return err
	}
	return e.objects.each(e.list, func(d *jsonReader) error {
		v, err := e.usableValue(d)
		if v == nil {
			return err
		}
		return e.object(d, v)
	})
}

// collectReferences notes the reports on which the event is built: its attributes of type link.
func (e *mispEvent) collectReferences() error {
	return e.attributes.each(e.list, func(d *jsonReader) error {
		raw, err := d.raw()
		if err != nil || !bytes.Contains(raw, []byte(`"link"`)) {
			return ignoreBad(err)
		}
		v, err := d.parser.ParseBytes(raw)
		if err == nil && textOf(v.Get("type")) == "link" && !truth(v.Get("deleted"), false) {
			e.references = appendName(e.references, webPage(textOf(v.Get("value"))))
		}
		return nil
	})
}

// ignoreBad returns err unless it is about one value, which is told elsewhere.
func ignoreBad(err error) error {
	var bad errValue
	if errors.As(err, &bad) {
		return nil
	}
	return err
}

// object takes the attributes of one object. The hashes of a file share what is said of it.
func (e *mispEvent) object(d *jsonReader, v *fastjson.Value) error {
	if truth(v.Get("deleted"), false) {
		return nil
	}
	var sample []extract.Key
	for _, attribute := range v.GetArray("Attribute") {
		if key, ok := extract.ParseKey(textOf(attribute.Get("value"))); ok && key.Type.IsHash() &&
			key.Type.String() == textOf(attribute.Get("type")) {
			sample = append(sample, key)
		}
	}
	n := len(d.path)
	defer func() { d.path = d.path[:n] }()
	for i, attribute := range v.GetArray("Attribute") {
		d.path = append(d.path[:n], step{name: "Attribute"}, step{index: i})
		if err := e.attribute(attribute, sample); err != nil {
			return err
		}
	}
	return nil
}

// attribute takes one attribute; sample are the hashes of the file it belongs to.
func (e *mispEvent) attribute(v *fastjson.Value, sample []extract.Key) error {
	name, value := textOf(v.Get("type")), textOf(v.Get("value"))
	typ, ok := mispTypes[name]
	switch {
	case truth(v.Get("deleted"), false):
		return nil
	case name == "link" && !truth(v.Get("to_ids"), false):
		return nil // a reference of all others
	case !ok:
		e.refuse(value, other(name))
		return nil
	}
	s, err := e.statementOf(v)
	if err != nil {
		e.refuse(value, err)
		return nil
	}
	accuses := truth(v.Get("to_ids"), typ.toIDs)
	parts := partsOf(name, value)
	keys := partKeys(parts, typ.parts)
	nameParts(&s.Report, keys, sample)
	for i, part := range parts {
		want := typ.parts[i]
		if want == 0 {
			continue
		}
		if err := e.addPart(part, want, accuses, s); err != nil {
			return err
		}
	}
	if len(parts) == 1 && typ.parts[0] == 0 {
		e.refuse(value, fmt.Errorf("type %s has two parts", name))
	}
	return nil
}

// partsOf returns the parts of a value, which is composite when its type is. A file's name may hold the separator.
func partsOf(name, value string) []string {
	at := -1
	switch {
	case name == "malware-sample", strings.HasPrefix(name, "filename|"):
		at = strings.LastIndexByte(value, '|')
	case strings.Contains(name, "|"):
		at = strings.IndexByte(value, '|')
	}
	if at < 0 {
		return []string{value}
	}
	return []string{value[:at], value[at+1:]}
}

// partKeys returns the keys of the parts of a value that are looked for.
func partKeys(parts []string, want [2]types) (keys []extract.Key) {
	for i, part := range parts {
		if want[i] == 0 {
			continue
		}
		if key, ok := extract.ParseKey(part); ok {
			keys = append(keys, key)
		}
	}
	return keys
}

// nameParts notes in a report what belongs together: a domain and its address, the hashes of a file.
func nameParts(r *intel.Report, keys, sample []extract.Key) {
	if len(keys) == 1 && keys[0].Type.IsHash() {
		if !slices.Contains(sample, keys[0]) {
			sample = keys
		}
		nameSample(r, sample)
	}
	if len(keys) == 2 {
		for _, key := range keys {
			r.Resolutions = append(r.Resolutions, intel.Resolution{Value: key.Value})
		}
	}
}

// addPart takes one value of an attribute. One that is not to be detected by itself is only related to the event.
func (e *mispEvent) addPart(value string, want types, accuses bool, s *intel.Statement) error {
	if accuses || s.Report.Votes != malicious {
		return e.addTyped(value, want, s)
	}
	subject, err := parseTyped(value, want)
	if err != nil {
		e.refuse(value, err)
		return nil
	}
	subject.Via, subject.Relation = extract.Key{Value: e.info}, intel.ByReference
	return e.take(intel.Entry{Subject: subject, Statement: s})
}

// statementOf returns what the event says of an attribute.
func (e *mispEvent) statementOf(v *fastjson.Value) (*intel.Statement, error) {
	get := record(func(name string) string { return textOf(v.Get(name)) })
	times, err := get.times("first_seen", "last_seen", "timestamp")
	if err != nil {
		return nil, err
	}
	tags, red, good := mispTags(slices.Clone(e.tags), v.Get("Tag"))
	if red && !e.AllowRed {
		return nil, errRed
	}
	votes := malicious
	if good || e.benign {
		votes = benign
	}
	s := e.statement(votes, intel.Report{
		First: times[0], Last: times[1], Tags: appendName(tags, e.info), References: e.references,
	})
	if times[2].IsZero() {
		times[2] = e.time
	}
	s.Expires = e.expiry(mispLife, times...)
	for _, sighting := range v.GetArray("Sighting") {
		const expiration = "2" // 0 is a sighting, 1 a false positive
		if t, err := parseTime(textOf(sighting.Get("date_sighting"))); textOf(sighting.Get("type")) == expiration && err == nil {
			s.Expires = t
		}
	}
	return s, nil
}

// readManifest reads the manifest of a MISP feed, which lists nothing itself: its events are the files beside it.
func (l *list) readManifest(in *bufio.Reader) error {
	d := newJSON(in)
	return d.documents(d.skip)
}
