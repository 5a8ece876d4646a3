package local

import (
	"encoding/binary"
	"net/netip"
	"slices"
)

// The networks of a segment stand among its records like all names, with what is said of them. To find those that hold
// an address there are two tables beside, of IPv4 and IPv6, ordered by first address, of equals the widest first. A row
// is the address, the length of the prefix, the row of the network around it plus one, and where its items begin.
//
// Networks are nested or apart, so that the last row at or below an address is the smallest network that holds it, or
// lies inside all that do: one search and a walk outwards, however many lengths there are. A table that is mapped must
// be searched as it lies, which no library for prefixes does: gaissmai/bart would have to be filled again by every
// process and for every edit.

// rowTail is the size of a row behind the address: bits, around in 4 bytes, items in 6.
const rowTail = 1 + 4 + 6

// A networkRow is one row while it is built.
type networkRow struct {
	netip.Prefix
	items uint64
}

// appendNetworks appends the table of rows.
func appendNetworks(dst []byte, rows []networkRow) []byte {
	slices.SortFunc(rows, func(a, b networkRow) int { return a.Compare(b.Prefix) })
	var open []int // the rows that the one at hand may stand in, from the widest
	for i, row := range rows {
		for len(open) > 0 && !rows[open[len(open)-1]].Contains(row.Addr()) {
			open = open[:len(open)-1]
		}
		around := uint32(0)
		if len(open) > 0 {
			around = uint32(open[len(open)-1]) + 1
		}
		open = append(open, i)
		dst = append(dst, row.Addr().AsSlice()...)
		dst = append(dst, byte(row.Bits()))
		dst = binary.LittleEndian.AppendUint32(dst, around)
		dst = append(binary.LittleEndian.AppendUint32(dst, uint32(row.items)), byte(row.items>>32), byte(row.items>>40))
	}
	return dst
}

// A networkTable is one of the two tables of a segment.
type networkTable struct {
	*segment
	section section
	size    uint64 // of an address
	rows    uint64
}

func (s *segment) networkTable(c class) networkTable {
	t := networkTable{s, networks4, 4, 0}
	if c == ipv6 {
		t.section, t.size = networks6, 16
	}
	t.rows = s.sections[t.section].size / (t.size + rowTail)
	return t
}

// row returns row i, or nil.
func (t *networkTable) row(i uint64) []byte {
	return t.bytes(t.section, i*(t.size+rowTail), t.size+rowTail)
}

// last returns how many rows begin at or below the address.
func (t *networkTable) last(addr []byte) uint64 {
	low, high := uint64(0), t.rows
	for low < high {
		middle := low + (high-low)/2
		row := t.row(middle)
		if row == nil {
			return 0
		}
		if string(row[:t.size]) > string(addr) {
			high = middle
		} else {
			low = middle + 1
		}
	}
	return low
}

// covers calls visit with the networks that hold the address, the smallest first, until it returns true.
func (s *segment) covers(n *name, visit func(g group) (enough bool)) {
	t := s.networkTable(n.class)
	addr := n.raw[:t.size]
	for i := t.last(addr); i > 0; {
		row := t.row(i - 1)
		if row == nil {
			return
		}
		tail := row[t.size:]
		if holds(row[:t.size], tail[0], addr) && t.visit(tail[5:], visit) {
			return
		}
		around := uint64(binary.LittleEndian.Uint32(tail[1:]))
		if around >= i {
			t.damaged("network %d stands in itself", i)
			return
		}
		i = around
	}
}

// visit calls visit with the group at the offset that a row ends with.
func (t *networkTable) visit(at []byte, visit func(group) bool) (enough bool) {
	offset := uint64(binary.LittleEndian.Uint32(at)) | uint64(at[4])<<32 | uint64(at[5])<<40
	size := t.sections[records].size
	if offset > size {
		return t.damaged("a network at %d of %d bytes", offset, size)
	}
	head := t.raw(t.sections[records].at+offset, min(maxGroupHead, size-offset))
	size, ok := groupSize(head)
	if !ok {
		return t.damaged("a network at %d", offset)
	}
	g, _, ok := readGroup(t.bytes(records, offset, size))
	if !ok {
		return t.damaged("a network at %d", offset)
	}
	return visit(g)
}

// maxGroupHead is how many bytes a network can take up to its items.
const maxGroupHead = 1 + 17 + binary.MaxVarintLen64

// groupSize returns how long the group is that begins with head, which is that of a network.
func groupSize(head []byte) (size uint64, ok bool) {
	if len(head) == 0 || class(head[0]) != network4 && class(head[0]) != network6 {
		return 0, false
	}
	start := 1 + rawSize[head[0]]
	if len(head) <= start {
		return 0, false
	}
	items, rest, ok := readUvarint(head[start:])
	return items + uint64(len(head)-len(rest)), ok
}

// holds reports whether the network of that address and length holds addr.
func holds(network []byte, bits byte, addr []byte) bool {
	whole := int(bits / 8)
	if whole > len(addr) || string(network[:whole]) != string(addr[:whole]) {
		return false
	}
	rest := bits % 8
	return rest == 0 || whole < len(addr) && (network[whole]^addr[whole])>>(8-rest) == 0
}
