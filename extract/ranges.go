package extract

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"
	"sort"
)

// A ranges is a set of addresses of one version, as ordered ranges. With millions of them a search of all costs a
// dozen cache misses; so the first 16 bits of an address tell by table which few can hold it.
type ranges[A address[A]] struct {
	list  []addrRange[A] // ordered and not overlapping, once joined
	below []uint32       // by the first 16 bits: how many ranges begin before the first address that has them
}

// An addrRange holds the addresses from first to last.
type addrRange[A any] struct{ first, last A }

// An address is one of IPv4 or IPv6 as a number.
type address[A any] interface {
	compare(A) int
	top() int // the first 16 bits
}

type addressV4 uint32

func newAddressV4(a netip.Addr) addressV4 {
	b := a.As4()
	return addressV4(binary.BigEndian.Uint32(b[:]))
}

func (a addressV4) compare(b addressV4) int { return cmp.Compare(a, b) }
func (a addressV4) top() int                { return int(a >> 16) }

type addressV6 [16]byte

func (a addressV6) compare(b addressV6) int { return bytes.Compare(a[:], b[:]) }
func (a addressV6) top() int                { return int(binary.BigEndian.Uint16(a[:])) }

// add puts the addresses from first to last into the set; [ranges.join] has to follow before it is asked.
func (r *ranges[A]) add(first, last A) { r.list = append(r.list, addrRange[A]{first, last}) }

// join orders the ranges, joins those that overlap, and fills the table.
func (r *ranges[A]) join() {
	if len(r.list) == 0 {
		return
	}
	slices.SortFunc(r.list, func(a, b addrRange[A]) int { return a.first.compare(b.first) })
	joined := r.list[:1]
	for _, next := range r.list[1:] {
		last := &joined[len(joined)-1]
		if next.first.compare(last.last) > 0 {
			joined = append(joined, next)
		} else if next.last.compare(last.last) > 0 {
			last.last = next.last
		}
	}
	r.list = joined
	r.below = r.below[:0]
	for n, next := range r.list {
		for len(r.below) <= next.first.top() {
			r.below = append(r.below, uint32(n))
		}
	}
}

// has reports whether a is in the set.
func (r *ranges[A]) has(a A) bool {
	top, from, to := a.top(), len(r.list), len(r.list)
	if top < len(r.below) {
		from = int(r.below[top])
	}
	if top+1 < len(r.below) {
		to = int(r.below[top+1])
	}
	n := from + sort.Search(to-from, func(i int) bool { return r.list[from+i].first.compare(a) > 0 })
	return n > 0 && a.compare(r.list[n-1].last) <= 0 // the range may begin before the first address with these bits
}
