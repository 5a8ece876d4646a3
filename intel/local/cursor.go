package local

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
)

// A record is one item of one name on its way into a segment.
type record struct {
	hash uint64
	sum  uint32 // of the statement's words; for old ones it is not known yet
	old  bool   // it was in the store before
	class
	name []byte
	item
	order int // in which it came
}

// A cursor reads the records of a run, or of an old segment, in the order of their hashes.
type cursor interface {
	// next returns the next record, whose bytes are valid until the next call; io.EOF ends them.
	next(*record) error
}

// A runCursor reads a run of a builder.
type runCursor struct {
	r    *bufio.Reader
	body []byte
}

func (c *runCursor) next(r *record) error {
	var head [recordHead]byte
	if _, err := io.ReadFull(c.r, head[:]); err != nil {
		return err
	}
	size := int(binary.LittleEndian.Uint32(head[12:]))
	if cap(c.body) < size {
		c.body = make([]byte, size)
	}
	c.body = c.body[:size]
	if _, err := io.ReadFull(c.r, c.body); err != nil {
		return fmt.Errorf("temporary file: %w", err)
	}
	g, _, ok := readGroup(c.body)
	it, _, fine := readItem(g.items)
	if !ok || !fine {
		return fmt.Errorf("temporary file is damaged")
	}
	*r = record{
		hash: binary.LittleEndian.Uint64(head[:]), sum: binary.LittleEndian.Uint32(head[8:]),
		class: g.class, name: g.name, item: it,
	}
	return nil
}

// A segmentCursor reads a segment.
type segmentCursor struct {
	walk
	group group
	hash  uint64
}

func (c *segmentCursor) next(r *record) error {
	if len(c.group.items) == 0 {
		var ok bool
		if c.group, ok = c.walk.next(); !ok {
			return cmp.Or(c.err(), io.EOF)
		}
		n := c.group.storedName()
		c.hash = n.hash()
	}
	it, rest, ok := readItem(c.group.items)
	if !ok || int(it.source) >= len(c.sources) {
		c.damaged("items of a name")
		return c.err()
	}
	c.group.items = rest
	*r = record{hash: c.hash, old: true, class: c.group.class, name: c.group.name, item: it}
	return nil
}

// storedName returns the name of g to ask other segments for.
func (g *group) storedName() name {
	n := name{class: g.class}
	if rawSize[g.class] > 0 {
		copy(n.raw[:], g.name)
	} else {
		n.text = string(g.name)
	}
	return n
}

// cursors merges: the one with the lowest record comes first, of equals the one that was there first.
type cursors []*ahead

// An ahead is a cursor and the record that it is at.
type ahead struct {
	cursor
	record
	rank int
}

func (c *cursors) add(from cursor) error {
	a := &ahead{cursor: from, rank: len(*c)}
	switch err := from.next(&a.record); err {
	case nil:
	case io.EOF:
		return nil
	default:
		return err
	}
	*c = append(*c, a)
	for i := len(*c) - 1; i > 0 && (*c)[i].before((*c)[(i-1)/2]); i = (i - 1) / 2 {
		(*c)[i], (*c)[(i-1)/2] = (*c)[(i-1)/2], (*c)[i]
	}
	return nil
}

func (a *ahead) before(b *ahead) bool {
	return a.hash < b.hash || a.hash == b.hash && a.rank < b.rank
}

// advance moves the first cursor on and restores the order.
func (c *cursors) advance() error {
	h := *c
	switch err := h[0].next(&h[0].record); err {
	case nil:
	case io.EOF:
		h[0] = h[len(h)-1]
		h = h[:len(h)-1]
		*c = h
	default:
		return err
	}
	for i := 0; 2*i+1 < len(h); {
		least := 2*i + 1
		if least+1 < len(h) && h[least+1].before(h[least]) {
			least++
		}
		if !h[least].before(h[i]) {
			break
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
	return nil
}
