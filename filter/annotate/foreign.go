package annotate

import (
	"bytes"
	"slices"
	"strings"
)

// entryMembers are the objects that an own entry is made of, and their members. What else stands there was put in by
// someone else.
var entryMembers = map[string][]string{
	"indicator": {"type", "name", "ip", "url", "email", "file", "provider", "reference", "confidence", "description",
		"last_seen"},
	"matched": {"atomic", "field", "id", "index", "occurred", "type"},
	"feed":    {"name"},
	"iocpipe": {"votes", "verdict", "response_code", "via", "relation", "stale", "related"},
}

// A foreignMember is a member of an own entry, or of an object in it, that no own entry has.
type foreignMember struct {
	object string // empty for the entry itself
	raw    []byte // name and value
}

// sameForeign reports whether both hold the same members, whatever the order of the objects that they stand in.
func sameForeign(x, y []foreignMember) bool {
	byObject := func(x, y foreignMember) int { return strings.Compare(x.object, y.object) }
	slices.SortStableFunc(x, byObject)
	slices.SortStableFunc(y, byObject)
	return slices.EqualFunc(x, y, func(x, y foreignMember) bool { return x.object == y.object && bytes.Equal(x.raw, y.raw) })
}

// foreignIn returns the foreign members of an entry, in their order.
func foreignIn(entry []byte) (foreign []foreignMember) {
	var top, inner container
	if _, ok := top.scan(entry, 0); !ok {
		return nil
	}
	for _, m := range top.members {
		name := top.pathOf(m, "")
		members, ours := entryMembers[name]
		if !ours {
			foreign = append(foreign, foreignMember{raw: entry[m.key.start:m.value.end]})
			continue
		}
		if entry[m.value.start] != '{' {
			continue
		}
		if _, ok := inner.scan(entry, m.value.start); ok {
			foreign = inner.appendForeign(foreign, name, members)
		}
	}
	return foreign
}

// appendForeign appends the members of c, which is that object of an entry, that are not among ours.
func (c *container) appendForeign(dst []foreignMember, object string, ours []string) []foreignMember {
	for _, m := range c.members {
		if !slices.Contains(ours, c.pathOf(m, "")) {
			dst = append(dst, foreignMember{object, c.src[m.key.start:m.value.end]})
		}
	}
	return dst
}

// keepForeign gives the entry that a.text ends with, from that offset on, the foreign members of the one whose place it
// takes.
func (a *Annotator) keepForeign(from int, old []byte) {
	foreign := foreignIn(old)
	if len(foreign) == 0 {
		return
	}
	entry := bytes.Clone(a.text[from:])
	var top container
	if _, ok := top.scan(entry, 0); !ok {
		return
	}
	a.text = a.text[:from]
	done := 0
	for _, m := range top.members {
		a.text = append(a.text, entry[done:m.value.end]...)
		a.text = putForeign(a.text, foreign, top.pathOf(m, ""))
		done = m.value.end
	}
	a.text = putForeign(append(a.text, entry[done:]...), foreign, "")
}

// putForeign puts the foreign members of an object before the bracket that dst ends with.
func putForeign(dst []byte, foreign []foreignMember, object string) []byte {
	for _, f := range foreign {
		if f.object == object {
			dst = append(dst[:len(dst)-1], ',')
			dst = append(append(dst, f.raw...), '}')
		}
	}
	return dst
}
