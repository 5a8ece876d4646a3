package lookup

import (
	"fmt"
	"testing"
	"time"
	"unsafe"

	"iocpipe/extract"
)

// stream makes the keys of a log with a number of distinct indicators, without allocating.
type stream struct {
	distinct uint64
	n        uint64
	buf      []byte
}

// next returns the next key, valid until the one after. Half of them are addresses, half are domains.
func (s *stream) next() extract.Key {
	s.n++
	id := s.n * 2654435761 % s.distinct
	if id%2 == 0 {
		s.buf = fmt.Appendf(s.buf[:0], "%d.%d.%d.%d", 1+id>>24&127, id>>16&255, id>>8&255, id&255)
		return extract.Key{Type: extract.IP, Value: unsafe.String(&s.buf[0], len(s.buf))}
	}
	s.buf = fmt.Appendf(s.buf[:0], "www.name%d.example%d.com", id, id%1000)
	return extract.Key{Type: extract.Domain, Value: unsafe.String(&s.buf[0], len(s.buf))}
}

func BenchmarkTableWant(b *testing.B) {
	for _, distinct := range []uint64{1_000, 100_000, 10_000_000} {
		b.Run(fmt.Sprintf("distinct=%d", distinct), func(b *testing.B) {
			table := newTestTable(DefaultMaxWaiting)
			keys := stream{distinct: distinct}
			now := table.start
			b.ReportAllocs()
			for b.Loop() {
				now = now.Add(10 * time.Microsecond) // 100,000 events a second
				table.Want(Sighting{Key: keys.next(), Context: extract.Context{Host: "10.0.0.9"}}, now)
			}
			b.ReportMetric(float64(table.Bytes()), "table-bytes")
		})
	}
}

// BenchmarkStream is what the benchmark of Want itself costs.
func BenchmarkStream(b *testing.B) {
	keys := stream{distinct: 10_000_000}
	for b.Loop() {
		keys.next()
	}
}

func BenchmarkTableNext(b *testing.B) {
	table := newTestTable(DefaultMaxWaiting)
	keys := stream{distinct: 1 << 20}
	for len(table.entries) < DefaultMaxWaiting {
		table.Want(Sighting{Key: keys.next(), Context: extract.Context{Host: "10.0.0.9"}}, table.start)
	}
	now := table.start
	for b.Loop() {
		now = now.Add(10 * time.Second) // each ask has its own scan
		key, _, _ := table.Next(0, now)
		table.Release(key)
	}
}

// BenchmarkSchedulerWantParallel is what the filter does with what it does not know.
func BenchmarkSchedulerWantParallel(b *testing.B) {
	for _, distinct := range []uint64{1_000, 10_000_000} {
		b.Run(fmt.Sprintf("distinct=%d", distinct), func(b *testing.B) {
			s := newTestScheduler(b, Options{Sources: []Source{{Name: "a", Types: extract.AllTypes, Rate: 1, Burst: 1}}})
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				keys := stream{distinct: distinct}
				for pb.Next() {
					if key := keys.next(); s.Heeds(key, time.Now()) {
						s.Want(Sighting{Key: key})
					}
				}
			})
		})
	}
}
