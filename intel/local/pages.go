package local

import (
	"fmt"
	"hash/crc32"
	"sync"
	"sync/atomic"
)

// pageSize is how much of a part is covered by one sum, in bytes. A lookup in a cold file reads and sums a page or
// three, which takes about as long as reading them from disk.
const pageSize = 64 << 10

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// pages holds the sums of one part of a file, and which of its pages have been found good.
type pages struct {
	sums    []uint32        // CRC-32C of each page, the last one shorter
	checked []atomic.Uint32 // a bit for each page
	home    *health
}

// A health is what is known to be wrong with a file. From the first damage on nothing is said from it.
type health struct {
	path string
	bad  atomic.Bool
	once sync.Once
	err  error
}

func newPages(sums []uint32, home *health) *pages {
	return &pages{sums, make([]atomic.Uint32, (len(sums)+31)/32), home}
}

// check reports whether the pages of data that hold n bytes at an offset are as they were written, and remembers
// it.
func (p *pages) check(data []byte, at, n uint64) bool {
	if n == 0 {
		return true
	}
	for page := at / pageSize; page <= (at+n-1)/pageSize; page++ {
		if p.checked[page/32].Load()&(1<<(page%32)) == 0 && !p.sum(data, page) {
			return false
		}
	}
	return true
}

// sum is the slow part of check. That two goroutines do it at once does no harm.
func (p *pages) sum(data []byte, page uint64) bool {
	start := page * pageSize
	end := min(start+pageSize, uint64(len(data)))
	if crc32.Checksum(data[start:end], castagnoli) != p.sums[page] {
		p.fail(fmt.Errorf("the bytes from %d to %d of a segment have changed since they were written", start, end))
		return false
	}
	p.checked[page/32].Or(1 << (page % 32))
	return true
}

func (p *pages) good() bool { return !p.home.bad.Load() }

func (p *pages) fail(err error) { p.home.fail(err) }

func (p *pages) err() error { return p.home.get() }

// fail notes the first thing that is wrong.
func (h *health) fail(err error) {
	h.once.Do(func() {
		h.err = fmt.Errorf("%w: %s: %w; move it away and import its lists again", ErrDamaged, h.path, err)
		h.bad.Store(true)
	})
}

func (h *health) get() error {
	if h.bad.Load() {
		return h.err
	}
	return nil
}
