package extract

import (
	"bytes"
	"encoding/binary"
	"math/bits"
)

const (
	// maxPath bounds the dotted path of a field, in bytes; the names of deeper ones are left out of it, so that a line
	// of nothing but nesting costs no more than any other.
	maxPath  = 1024
	maxNames = 64 // levels that have a part in it

	maxFields    = 2048 // that are remembered, at most
	maxFieldName = 128  // of one that is, in bytes
	maxMemory    = 64   // of what a field remembers of its last line, in bytes
)

// A field is a place in JSON events: the event itself, a member of an object, or the elements of an array. The place it
// stands in is its parent.
//
// Programs write the same members in the same order, line after line, and much of what they write does not change. So a
// walker keeps the fields it has met, and they remember what was found out: what the field's name says, what followed its
// value, and values that held nothing. Most of an event is passed over by comparing it with that.
type field struct {
	parent  *field
	name    string // as it is written, perhaps with escapes; "" for elements
	element bool
	message bool // "message" at the top, or below it
	kept    bool // beyond the line
	depth   int

	path      string // the dotted names, if hasPath
	hasPath   bool
	wanted    answer // whether it is looked into
	detection answer // whether its value is a detection name

	steps   [ways]step      // what followed its value
	nothing *[places][]byte // values that held nothing, with the closing quote, by [placeOf]
}

// A step is the text between the value of one field and that of the next one that is a leaf.
type step struct {
	text []byte
	to   *field
}

// ways and places are how many steps and values a field remembers: the events of several programs take turns.
const (
	waysBits, placesBits = 2, 4
	ways, places         = 1 << waysBits, 1 << placesBits
)

// wayOf returns a number below ways that depends on the first eight bytes of text.
func wayOf(text []byte) uint64 {
	if len(text) < 8 {
		return 0 // the end of an event
	}
	return mix(binary.LittleEndian.Uint64(text)) >> (64 - waysBits)
}

// placeOf returns a number below places that depends on the first 16 bytes of text.
func placeOf(text []byte) uint64 {
	return mix(binary.LittleEndian.Uint64(text)^bits.RotateLeft64(binary.LittleEndian.Uint64(text[8:]), 5)) >> (64 - placesBits)
}

// mix makes all bits of x count in the highest ones.
func mix(x uint64) uint64 { return x * 0x9E3779B97F4A7C15 }

// An answer is a bool that is found out when first asked for.
type answer uint8

const (
	unknown answer = iota
	yes
	no
)

func answerOf(is bool) answer {
	if is {
		return yes
	}
	return no
}

// dotted returns the field's path: the names with dots between.
func (f *field) dotted() string {
	if f.hasPath || f.parent == nil {
		return f.path
	}
	f.path, f.hasPath = f.parent.dotted(), true
	if f.element || f.depth > maxNames || len(f.path)+1+len(f.name) > maxPath {
		return f.path
	}
	path := []byte(f.path)
	if len(path) > 0 {
		path = append(path, '.')
	}
	f.path = string(appendUnescaped(path, []byte(f.name)))
	return f.path
}

// member returns the field itself or, of elements, the one whose value the array is.
func (f *field) member() *field {
	for f.element {
		f = f.parent
	}
	return f
}

// step returns the step that text begins with, if it is remembered.
func (f *field) step(text []byte) (size int, to *field) {
	if s := &f.steps[wayOf(text)]; s.to != nil && bytes.HasPrefix(text, s.text) {
		return len(s.text), s.to
	}
	return 0, nil
}

// learnStep remembers that the first size bytes of text lead from f, which must be kept, to another field.
func (f *field) learnStep(text []byte, size int, to *field) {
	if to.kept && size <= maxMemory {
		s := &f.steps[wayOf(text)]
		s.text, s.to = append(s.text[:0], text[:size]...), to
	}
}

// learnNothing remembers that a string held nothing; text is the line from its first byte on, and size counts its closing
// quote.
func (f *field) learnNothing(text []byte, size int) {
	if !f.kept || size > maxMemory || len(text) < 16 {
		return
	}
	if f.nothing == nil {
		f.nothing = new([places][]byte)
	}
	held := &f.nothing[placeOf(text)]
	*held = append((*held)[:0], text[:size]...)
}

// heldNothing returns the length of the string with its closing quote that text begins with, if it is remembered as one
// that held nothing; else 0.
func (f *field) heldNothing(text []byte) int {
	if f.nothing != nil && len(text) >= 16 {
		if held := f.nothing[placeOf(text)]; bytes.HasPrefix(text, held) {
			return len(held)
		}
	}
	return 0
}

// A fieldTree holds the fields that are kept. Its root is the event itself.
type fieldTree struct {
	root  field
	known map[fieldKey]*field
	loose *field // fields that were not kept, to be used again; linked by parent
}

type fieldKey struct {
	parent  *field
	name    string
	element bool
}

// reset makes the tree ready for a line, after one that ended in f or before the first; it forgets all fields when there
// are too many.
func (t *fieldTree) reset(f *field) {
	for f != nil && !f.kept {
		f = t.leave(f)
	}
	if len(t.known) >= maxFields {
		clear(t.known)
		t.root = field{}
	}
	t.root.kept = true
}

// child returns the member of parent that has the name, or its elements.
func (t *fieldTree) child(parent *field, name []byte, element bool) *field {
	if f := t.known[fieldKey{parent, alias(name), element}]; f != nil {
		return f
	}
	f := t.loose
	if f == nil {
		f = new(field)
	} else {
		t.loose = f.parent
	}
	*f = field{parent: parent, name: alias(name), element: element, depth: parent.depth + 1}
	f.message = parent.message || parent == &t.root && f.name == "message"
	if parent.kept && f.depth <= maxNames && len(name) <= maxFieldName && len(t.known) < maxFields {
		if t.known == nil {
			t.known = make(map[fieldKey]*field)
		}
		f.kept, f.name = true, string(name)
		t.known[fieldKey{parent, f.name, element}] = f
	}
	return f
}

// leave returns the parent of f, which the walk is done with.
func (t *fieldTree) leave(f *field) *field {
	parent := f.parent
	if !f.kept {
		f.parent, t.loose = t.loose, f
	}
	return parent
}
