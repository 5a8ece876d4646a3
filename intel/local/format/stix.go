package format

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
	"time"

	"github.com/valyala/fastjson"

	"iocpipe/extract"
	"iocpipe/intel"
)

// maxNoted bounds what is noted of a bundle's objects before its indicators are taken: their versions, the names of
// malware, and what relates them, in bytes. That is a million indicators; of a larger bundle the rest counts as it
// stands.
const maxNoted = 64 << 20

// redMarkings are the marking definitions of TLP:RED, version 1 and 2.
// Source: STIX 2.1, section 7.2.1.4, and https://github.com/oasis-open/cti-stix-common-objects
var redMarkings = []string{
	"marking-definition--5e57c739-391a-4eb3-b6be-7d15ca92d5ed", "marking-definition--e828b379-4e03-4974-9ac4-e53a884c97c1",
}

// A bundle is a STIX bundle while it is read: what its objects say of its indicators, which may stand before them.
type bundle struct {
	*list
	objects spool

	noted    int // bytes, about
	seed     maphash.Seed
	versions map[uint64]time.Time // when the newest version of each indicator was made, by the hash of its id
	names    map[string]string    // of malware, campaigns and actors, by id
	about    map[string][]string  // their ids, by that of the indicator
	red      []string             // marking definitions
}

// readSTIX reads the indicators of STIX 2.0 and 2.1 bundles, and of TAXII envelopes. Of an indicator that has several
// versions the newest counts. Observables without an indicator say nothing.
// Source: https://docs.oasis-open.org/cti/stix/v2.1/stix-v2.1.html
func (l *list) readSTIX(in *bufio.Reader) error {
	d := newJSON(in)
	l.where = d.where
	return d.documents(func() error {
		b := bundle{
			list: l, seed: maphash.MakeSeed(), versions: make(map[uint64]time.Time), names: make(map[string]string),
			about: make(map[string][]string), red: slices.Clone(redMarkings),
		}
		defer b.objects.Close()
		var err error
		if d.peek() == '[' {
			err = b.objects.add(d)
		} else {
			err = d.object(func(key string) error {
				if key == "objects" {
					return b.objects.add(d)
				}
				return d.skip()
			})
		}
		if err == nil {
			err = b.objects.each(l, b.note)
		}
		if err != nil {
			return err
		}
		return b.objects.each(l, b.take)
	})
}

// named are the types of objects whose names tell what an indicator indicates.
var named = []string{"malware", "campaign", "intrusion-set", "threat-actor", "tool"}

// note notes what an object says of others.
func (b *bundle) note(d *jsonReader) error {
	v, err := d.value()
	if err != nil {
		return ignoreBad(err) // told when its indicators are taken
	}
	id, name := textOf(v.Get("id")), textOf(v.Get("name"))
	const entry = 64 // bytes of a map's
	if b.noted += entry; b.noted+len(id)+len(name) > maxNoted {
		return nil
	}
	switch typ := textOf(v.Get("type")); {
	case typ == "indicator":
		if t, err := parseTime(textOf(v.Get("modified"))); err == nil {
			hash := maphash.String(b.seed, id)
			b.versions[hash] = latest(b.versions[hash], t)
		}
	case typ == "marking-definition":
		if textOf(v.Get("definition", "tlp")) == "red" || strings.EqualFold(name, "TLP:RED") {
			b.noted += len(id)
			b.red = append(b.red, id)
		}
	case typ == "relationship":
		source, target := textOf(v.Get("source_ref")), textOf(v.Get("target_ref"))
		if strings.HasPrefix(source, "indicator--") && len(b.about[source]) < maxNames {
			b.noted += len(source) + len(target)
			b.about[source] = append(b.about[source], target)
		}
	case slices.Contains(named, typ) && len(name) <= maxName:
		b.noted += len(id) + len(name)
		b.names[id] = name
	}
	return nil
}

var (
	errRevoked   = unwanted{errors.New("is revoked")}
	errNoPattern = errors.New("an indicator without a pattern")
)

// take takes the values of an indicator.
func (b *bundle) take(d *jsonReader) error {
	v, err := b.usableValue(d)
	if v == nil || textOf(v.Get("type")) != "indicator" {
		return err
	}
	name := textOf(v.Get("name"))
	modified, _ := parseTime(textOf(v.Get("modified")))
	newest := b.versions[maphash.String(b.seed, textOf(v.Get("id")))]
	if modified.Before(newest) {
		return nil
	}
	terms, err := b.usable(v)
	if err != nil {
		b.refuse(name, err)
		return nil
	}
	s, err := b.statementOf(v)
	if err != nil {
		b.refuse(name, err)
		return nil
	}
	return b.takeTerms(terms, s)
}

// usable returns the terms of an indicator's pattern, or why it is not taken.
func (b *bundle) usable(v *fastjson.Value) ([]term, error) {
	pattern, form := textOf(v.Get("pattern")), textOf(v.Get("pattern_type"))
	switch {
	case truth(v.Get("revoked"), false):
		return nil, errRevoked
	case form != "" && form != "stix":
		return nil, unwanted{fmt.Errorf("pattern type %s", shorten(form))}
	case pattern == "":
		return nil, errNoPattern
	}
	for _, mark := range v.GetArray("object_marking_refs") {
		if slices.Contains(b.red, textOf(mark)) && !b.AllowRed {
			return nil, errRed
		}
	}
	return parsePattern(pattern)
}

// takeTerms takes the values that a pattern compares with. The hashes of one file share what is said of it.
func (b *bundle) takeTerms(terms []term, s *intel.Statement) error {
	for _, t := range terms {
		if len(t.sample) > 0 {
			nameSample(&s.Report, t.sample)
		}
		for _, value := range t.resolved {
			if key, ok := extract.ParseKey(strings.TrimSuffix(value, "/32")); ok {
				s.Report.Resolutions = append(s.Report.Resolutions, intel.Resolution{Value: key.Value})
			}
		}
	}
	for _, t := range terms {
		want, ok := patternPaths[t.path]
		for _, value := range t.values {
			if !ok {
				b.refuse(value, other(t.path))
				continue
			}
			if err := b.addTyped(value, want, s); err != nil {
				return err
			}
		}
	}
	return nil
}

// statementOf returns what an indicator says of its values.
func (b *bundle) statementOf(v *fastjson.Value) (*intel.Statement, error) {
	get := record(func(name string) string { return textOf(v.Get(name)) })
	times, err := get.times("valid_from", "valid_until")
	if err != nil {
		return nil, err
	}
	r := intel.Report{First: times[0], Tags: namesOf(get("name"))}
	for _, target := range b.about[get("id")] {
		r.Tags = appendName(r.Tags, b.names[target])
	}
	votes, labels := stixVotes(v)
	for _, label := range labels {
		r.Tags = appendName(r.Tags, label)
	}
	for _, reference := range v.GetArray("external_references") {
		r.References = appendName(r.References, webPage(textOf(reference.Get("url"))))
	}
	if votes == malicious && unsure(get("confidence")) {
		votes = undecided
	}
	s := b.statement(votes, r)
	s.Expires = times[1]
	return s, nil
}

// stixVotes returns the votes of an indicator, by its types (2.1) or labels (2.0), and the labels that are none.
func stixVotes(v *fastjson.Value) (votes int8, labels []string) {
	var accused, harmless, doubtful bool
	for _, item := range slices.Concat(v.GetArray("indicator_types"), v.GetArray("labels")) {
		switch label := textOf(item); label {
		case "malicious-activity":
			accused = true
		case "benign":
			harmless = true
		case "anomalous-activity", "compromised", "unknown":
			doubtful = true
		default:
			labels = append(labels, label)
		}
	}
	switch {
	case accused:
		return malicious, labels
	case harmless:
		return benign, labels
	case doubtful:
		return undecided, labels
	}
	return malicious, labels
}

// firstByte returns the first byte of in behind blanks, 0 when it is not among the first thousand.
func firstByte(in *bufio.Reader) byte {
	head, _ := in.Peek(1000)
	if head = bytes.TrimSpace(head); len(head) > 0 {
		return head[0]
	}
	return 0
}
