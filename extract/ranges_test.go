package extract

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

// TestRanges holds both kinds of ranges against the obvious: every range is asked. The ranges are many and short, few
// and long, overlap, and cross the bounds of the table.
func TestRanges(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, size := range []uint32{1, 300, 1 << 16, 1 << 22, 1 << 31} {
		var v4 ranges[addressV4]
		var v6 ranges[addressV6]
		var all []addrRange[uint32]
		for range 200 {
			first := random.Uint32()
			last := first + min(random.Uint32N(size), ^first)
			all = append(all, addrRange[uint32]{first, last})
			v4.add(addressV4(first), addressV4(last))
			v6.add(widened(first), widened(last))
		}
		v4.join()
		v6.join()
		for _, r := range all {
			for _, a := range []uint32{r.first - 1, r.first, r.first + 1, r.last - 1, r.last, r.last + 1, random.Uint32(), 0, 1<<32 - 1} {
				want := false
				for _, r := range all {
					want = want || r.first <= a && a <= r.last
				}
				if v4.has(addressV4(a)) != want || v6.has(widened(a)) != want {
					t.Fatalf("ranges of up to %d: %08x is reported as %v and %v, want %v", size, a, v4.has(addressV4(a)), v6.has(widened(a)), want)
				}
			}
		}
	}
	var none ranges[addressV4]
	if none.join(); none.has(0) || none.has(1<<32-1) {
		t.Error("no ranges hold an address")
	}
}

// widened returns the first IPv6 address that begins with the bits of a.
func widened(a uint32) (wide addressV6) {
	binary.BigEndian.PutUint32(wide[:], a)
	return wide
}
