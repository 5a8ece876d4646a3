package annotate

import (
	"bytes"
	"slices"
)

// A family is one of the three field sets that an annotation writes to.
type family uint8

const (
	relatedFields family = iota // in the order in which new ones are written
	threatFields
	ownFields
	numFamilies
)

var familyNames = [numFamilies]string{"related", "threat", "iocpipe"}

// summaryNames are the members of iocpipe.* that sum up the own entries of an event, in the order of writing.
var summaryNames = [...]string{"verdict", "votes_min", "matches", "fields", "enriched_at", "schema"}

// A document is an event in which the places that an annotation needs have been found. An event may spell a field set
// as an object, as dotted names at the top, or both; of names that occur twice the last one counts, as it does for most
// parsers.
type document struct {
	container        // the members at the top
	kept      int    // members at the top that will stay
	name      []byte // scratch

	families [numFamilies]struct {
		object container // the last member of the family's name, if that is an object
		nested bool      // there is such an object
		spread bool      // the top has members of the family under dotted names
		dotted bool      // new members go to the top under dotted names
		kept   int       // members of object that will stay
		opened bool      // object is new and its beginning has been written
	}
}

// parse reads event. It returns false when that is no JSON object.
func (d *document) parse(event []byte) bool {
	if _, ok := d.scanEvent(event); !ok {
		return false
	}
	d.kept = len(d.members)
	for f := range numFamilies {
		if !d.locate(f) {
			return false
		}
	}
	return true
}

func (d *document) locate(f family) bool {
	fam := &d.families[f]
	fam.nested, fam.spread, fam.opened, fam.kept = false, false, false, 0
	last := -1
	for i, m := range d.members {
		if rest, ok := bytes.CutPrefix(d.nameOf(m), []byte(familyNames[f])); !ok {
			continue
		} else if len(rest) == 0 {
			last = i
		} else if rest[0] == '.' {
			fam.spread = true
		}
	}
	fam.dotted = fam.spread
	if last < 0 {
		return true
	}
	at := d.members[last].value.start
	if d.src[at] != '{' { // it must stay, and nothing can be put into it
		fam.dotted = true
		return true
	}
	_, ok := fam.object.scan(d.src, at)
	fam.nested, fam.dotted, fam.kept = true, false, len(fam.object.members)
	return ok
}

// nameOf returns the key of m without quotes and escapes. It is valid until the next call.
func (d *document) nameOf(m member) []byte {
	raw := d.src[m.key.start+1 : m.key.end-1]
	if bytes.IndexByte(raw, '\\') < 0 {
		return raw
	}
	d.name = appendUnescaped(d.name[:0], raw)
	return d.name
}

// hasName reports whether m is the member name of f, dotted when it stands at the top.
func (d *document) hasName(m member, f family, dotted bool, name string) bool {
	got := d.nameOf(m)
	if dotted {
		var ok bool
		if got, ok = bytes.CutPrefix(got, []byte(familyNames[f])); !ok || len(got) == 0 || got[0] != '.' {
			return false
		}
		got = got[1:]
	}
	return string(got) == name
}

// lookup returns the value of the last member name of f, one in the family's object before a dotted one, and how many
// there are of both.
func (d *document) lookup(f family, name string) (value span, n int) {
	for _, m := range d.spreadMembers(f) {
		if d.hasName(m, f, true, name) {
			value = m.value
			n++
		}
	}
	for _, m := range d.nestedMembers(f) {
		if d.hasName(m, f, false, name) {
			value = m.value
			n++
		}
	}
	return value, n
}

// spreadMembers returns the members among which dotted names of f are.
func (d *document) spreadMembers(f family) []member {
	if !d.families[f].spread {
		return nil
	}
	return d.members
}

// nestedMembers returns the members of f's object.
func (d *document) nestedMembers(f family) []member {
	if !d.families[f].nested {
		return nil
	}
	return d.families[f].object.members
}

// isSummary reports whether m is a member of the summary, dotted when it stands at the top.
func (d *document) isSummary(m member, dotted bool) bool {
	return slices.ContainsFunc(summaryNames[:], func(name string) bool { return d.hasName(m, ownFields, dotted, name) })
}
