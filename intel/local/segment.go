package local

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"iter"
	"time"
)

// A segment is one sorted set of names and what sources say of them, as bytes: mapped from a file, or built in memory.
// It is only read, by any number of goroutines. All that is read of it is checked: bounds always, and the sums of
// pages, when they come from a file, before the first look into each.
type segment struct {
	data     []byte
	pages    *pages // nil when data is our own
	sections [numSections]span
	sources  []sourceRow
	bits     uint // of a hash choose the bucket
	names    uint64
	listed   uint64
	memory   *memory
}

// A span is a part of a segment.
type span struct{ at, size uint64 }

// A section is one of the parts of a segment; the numbers are part of the file format.
type section int

const (
	statements section = iota
	records
	directory
	networks4
	networks6
	sourceList
	numSections
)

// A footer ends a segment: the section spans, how many names there are, how many of them are listed, and the number of
// bits that choose a bucket.
const footerSize = int(numSections)*16 + 8 + 8 + 8

// A sourceRow is a Source, and where its statements are.
type sourceRow struct {
	Source
	At, Size uint64
	Expiring bool // one of its statements may expire
}

// A Source is a list of intelligence in a store.
type Source struct {
	Name    string
	Kind    string    // its format
	From    string    // the file or URL that it was read from
	Updated time.Time // when it was read
	Entries int       // how many are in the store
	Refused int       // how many could not be taken
	Samples []string  `json:",omitempty"` // the first of those: where, and why
}

// openSegment reads the footer and the sources of a segment.
func openSegment(data []byte, p *pages) (*segment, error) {
	s := &segment{data: data, pages: p, memory: new(memory)}
	if len(data) < footerSize {
		return nil, fmt.Errorf("segment of %d bytes is too short", len(data))
	}
	end := uint64(len(data) - footerSize)
	footer := s.raw(end, uint64(footerSize))
	if footer == nil {
		return nil, s.err()
	}
	for i := range s.sections {
		s.sections[i] = span{binary.LittleEndian.Uint64(footer), binary.LittleEndian.Uint64(footer[8:])}
		if sp := s.sections[i]; sp.at > end || sp.size > end-sp.at {
			return nil, fmt.Errorf("section %d of a segment lies outside it", i)
		}
		footer = footer[16:]
	}
	s.names, s.listed = binary.LittleEndian.Uint64(footer), binary.LittleEndian.Uint64(footer[8:])
	if s.names > s.sections[records].size {
		return nil, fmt.Errorf("%d names in %d bytes of records", s.names, s.sections[records].size)
	}
	bits := binary.LittleEndian.Uint64(footer[16:])
	if bits > 40 || s.sections[directory].size != (1<<bits+1)*8 {
		return nil, fmt.Errorf("a directory of %d bytes for %d bits", s.sections[directory].size, bits)
	}
	s.bits = uint(bits)
	return s, s.readSources()
}

func (s *segment) readSources() error {
	list := s.bytes(sourceList, 0, s.sections[sourceList].size)
	if list == nil {
		return s.err()
	}
	if err := json.Unmarshal(list, &s.sources); err != nil {
		return fmt.Errorf("list of sources: %w", err)
	}
	limit := s.sections[statements].size
	for _, row := range s.sources {
		if row.At > limit || row.Size > limit-row.At {
			return fmt.Errorf("statements of %.60q lie outside their section", row.Name)
		}
	}
	return nil
}

// raw returns n bytes of the segment, checked; nil when they are damaged or not there.
func (s *segment) raw(at, n uint64) []byte {
	if all := uint64(len(s.data)); at > all || n > all-at {
		s.damaged("%d bytes at %d of %d", n, at, all)
		return nil
	}
	if s.pages != nil && !s.pages.check(s.data, at, n) {
		return nil
	}
	return s.data[at : at+n : len(s.data)] // never more, see offsetOf
}

// bytes is raw within a section.
func (s *segment) bytes(of section, at, n uint64) []byte {
	sp := s.sections[of]
	if at > sp.size || n > sp.size-at {
		s.damaged("%d bytes at %d of %d in section %d", n, at, sp.size, of)
		return nil
	}
	return s.raw(sp.at+at, n)
}

// offsetOf returns where in the segment a slice of its bytes begins: all of them reach to the segment's end.
func (s *segment) offsetOf(part []byte) uint64 { return uint64(len(s.data) - cap(part)) }

// damaged notes what is wrong and returns false. What was built in memory is never damaged.
func (s *segment) damaged(format string, args ...any) bool {
	if s.pages != nil {
		s.pages.fail(fmt.Errorf(format, args...))
	}
	return false
}

func (s *segment) err() error {
	if s.pages == nil {
		return nil
	}
	return s.pages.err()
}

// usable reports whether anything may be said from s.
func (s *segment) usable() bool { return s.pages == nil || s.pages.good() }

// find returns the items of a name, whose hash is given, or nothing.
func (s *segment) find(hash uint64, n *name) (items []byte) {
	if s.names == 0 {
		return nil
	}
	bucket, _ := s.bucket(hash >> (64 - s.bits)) // all of it when bits is 0: Go shifts by 64 to 0
	for len(bucket) > 0 {
		g, rest, ok := readGroup(bucket)
		if !ok {
			s.damaged("a bucket of records")
			return nil
		}
		if n.is(g.class, g.name) {
			return g.items
		}
		bucket = rest
	}
	return nil
}

// bucket returns the records whose hashes begin with these bits, and where they begin.
func (s *segment) bucket(i uint64) (bucket []byte, start uint64) {
	bounds := s.bytes(directory, i*8, 16)
	if bounds == nil {
		return nil, 0
	}
	start, end := binary.LittleEndian.Uint64(bounds), binary.LittleEndian.Uint64(bounds[8:])
	if start > end {
		s.damaged("bucket %d ends before it begins", i)
		return nil, 0
	}
	return s.bytes(records, start, end-start), start
}

// A group is a name and all its items, as they stand among the records: class, name (with its length, when it is
// text), the size of the items, items.
type group struct {
	class class
	name  []byte
	items []byte
}

func appendGroup(dst []byte, c class, name, items []byte) []byte {
	dst = append(dst, byte(c))
	if rawSize[c] == 0 {
		dst = binary.AppendUvarint(dst, uint64(len(name)))
	}
	dst = append(dst, name...)
	dst = binary.AppendUvarint(dst, uint64(len(items)))
	return append(dst, items...)
}

func readGroup(data []byte) (g group, rest []byte, ok bool) {
	if len(data) < 2 || data[0] == 0 || data[0] >= byte(classes) {
		return g, nil, false
	}
	g.class, data = class(data[0]), data[1:]
	if size := rawSize[g.class]; size == 0 {
		g.name, data, ok = readText(data)
	} else if ok = size <= len(data); ok {
		g.name, data = data[:size], data[size:]
	}
	if !ok {
		return g, nil, false
	}
	g.items, rest, ok = readText(data)
	return g, rest, ok && len(g.items) > 0
}

// groups yields all groups in the order of their hashes.
func (s *segment) groups() iter.Seq[group] {
	return func(yield func(group) bool) {
		w := walk{segment: s}
		for g, ok := w.next(); ok && yield(g); g, ok = w.next() {
		}
	}
}

// A walk goes over all groups of a segment.
type walk struct {
	*segment
	at     uint64 // the next bucket
	behind uint64 // where the last one ended
	bucket []byte
}

// next returns the next group; false says that there is none, or that the segment is damaged.
func (w *walk) next() (g group, ok bool) {
	for len(w.bucket) == 0 {
		if w.names == 0 || w.at == 1<<w.bits || !w.usable() {
			return g, false
		}
		start := uint64(0)
		if w.bucket, start = w.segment.bucket(w.at); start != w.behind { // or a file could let us walk for ever
			return g, w.damaged("bucket %d does not begin where the one before ends", w.at)
		}
		w.at, w.behind = w.at+1, start+uint64(len(w.bucket))
	}
	if g, w.bucket, ok = readGroup(w.bucket); !ok {
		return g, w.damaged("a bucket of records")
	}
	return g, true
}

// each yields the items of a group.
func (s *segment) each(items []byte) iter.Seq[*item] {
	return func(yield func(*item) bool) {
		for len(items) > 0 {
			it, rest, ok := readItem(items)
			if !ok || int(it.source) >= len(s.sources) {
				s.damaged("items of a name")
				return
			}
			if !yield(&it) {
				return
			}
			items = rest
		}
	}
}
