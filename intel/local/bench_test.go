package local

import (
	"database/sql"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"iocpipe/extract"
	"iocpipe/intel"
)

// sizes are the numbers of indicators of the benchmarks; IOCPIPE_BENCH_INDICATORS names others, such as 10000000.
func sizes(b *testing.B) []int {
	list := os.Getenv("IOCPIPE_BENCH_INDICATORS")
	if list == "" {
		return []int{1_000_000}
	}
	var all []int
	for text := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(text)
		if err != nil {
			b.Fatal(err)
		}
		all = append(all, n)
	}
	return all
}

// indicator returns the i-th of a list that is mixed as lists are: addresses, domains and hashes, a third each.
func indicator(i int) string {
	spread := uint32(i) * 2654435761 // each number once
	switch i % 3 {
	case 0:
		return netip.AddrFrom4([4]byte{byte(spread >> 24), byte(spread >> 16), byte(spread >> 8), byte(spread)}).String()
	case 1:
		return fmt.Sprintf("host%d.evil%d.com", i, spread%100_000)
	}
	return fmt.Sprintf("%016x%016x%032x", uint64(spread)*0x9e3779b97f4a7c15, i, spread)
}

// A fakeList reads as n indicators, one per line.
type fakeList struct {
	i, n int
}

func (l *fakeList) next() (key extract.Key, ok bool) {
	if l.i == l.n {
		return key, false
	}
	key, ok = extract.ParseKey(indicator(l.i))
	l.i++
	return key, ok
}

// importOf returns the import of n indicators that are listed and no more.
func importOf(name string, n int) *Import {
	return &Import{Source: Source{Name: name}, Read: func(take func(intel.Entry) error) error {
		said := &intel.Statement{Source: name, Report: *listed}
		list := fakeList{n: n}
		for key, ok := list.next(); ok; key, ok = list.next() {
			if err := take(intel.Entry{Subject: intel.Subject{Key: key}, Statement: said}); err != nil {
				return err
			}
		}
		return nil
	}}
}

// benchFolder holds the store files of the benchmarks; [TestMain] removes it.
var benchFolder string

// benchStore returns a store file of n indicators, which is made once.
func benchStore(b *testing.B, n int) string {
	b.Helper()
	if benchFolder == "" {
		var err error
		if benchFolder, err = os.MkdirTemp("", "iocpipe-bench-*"); err != nil {
			b.Fatal(err)
		}
	}
	path := filepath.Join(benchFolder, fmt.Sprint(n))
	if _, err := os.Stat(path); err == nil {
		return path
	}
	if _, err := Replace(path, importOf("a", n)); err != nil {
		b.Fatal(err)
	}
	return path
}

func eachSize(b *testing.B, do func(b *testing.B, n int)) {
	for _, n := range sizes(b) {
		b.Run(fmt.Sprint(n), func(b *testing.B) { do(b, n) })
	}
}

func BenchmarkOpen(b *testing.B) {
	eachSize(b, func(b *testing.B, n int) {
		path := benchStore(b, n)
		for b.Loop() {
			s, err := Open(path)
			if err != nil {
				b.Fatal(err)
			}
			s.Find(extract.Key{Type: extract.IP, Value: "192.0.2.1"})
		}
		info, _ := os.Stat(path)
		b.ReportMetric(float64(info.Size())/float64(n), "B/indicator")
	})
}

func BenchmarkReplace(b *testing.B) {
	eachSize(b, func(b *testing.B, n int) {
		path := filepath.Join(b.TempDir(), "store")
		before := processorTime(b)
		for b.Loop() {
			if _, err := Replace(path, importOf("a", n)); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric((processorTime(b)-before).Seconds()/float64(b.N), "cpu-s/op")
		b.ReportMetric(float64(usage(b).Maxrss)/1024, "peak-MiB") // on Linux, of a process that does nothing else
		b.ReportMetric(float64(b.N)*float64(n)/b.Elapsed().Seconds(), "indicators/s")
	})
}

func BenchmarkChange(b *testing.B) {
	eachSize(b, func(b *testing.B, n int) {
		path := benchStore(b, n)
		for b.Loop() {
			err := Change(path, func(e *Edits) error {
				return e.Remove(intel.Subject{Key: keyOf(b, "203.0.113.7")}, "ann", "wrong")
			})
			if err != nil {
				b.Fatal(err)
			}
		}
	})
}

// questions are a thousand keys each, over all of the store, so that the processor's caches do not hide what memory
// costs.
func questions(n int) map[string][]extract.Key {
	random := rand.New(rand.NewPCG(1, 2))
	all := make(map[string][]extract.Key)
	for range 1 << 16 {
		i := random.IntN(n/3-1) * 3
		for j, kind := range []string{"hit ip", "hit domain", "hit hash"} {
			key, _ := extract.ParseKey(indicator(i + j))
			all[kind] = append(all[kind], key)
			key, _ = extract.ParseKey(indicator(n + 2 + i + j))
			if kind := "miss" + kind[3:]; key.Type == all["hit"+kind[4:]][0].Type {
				all[kind] = append(all[kind], key)
			}
		}
		all["parent"] = append(all["parent"], extract.Key{Type: extract.Domain, Value: "www." + indicator(i+1)})
	}
	return all
}

func BenchmarkFindAmong(b *testing.B) {
	eachSize(b, func(b *testing.B, n int) {
		s, err := Open(benchStore(b, n))
		if err != nil {
			b.Fatal(err)
		}
		find := func(key extract.Key) bool { return s.Find(key).Verdict != intel.NoVerdict }
		benchQuestions(b, n, find)
	})
}

// BenchmarkFindInMap asks Go's map, for comparison: only whether the key is there.
func BenchmarkFindInMap(b *testing.B) {
	eachSize(b, func(b *testing.B, n int) {
		before := heap()
		m := make(map[extract.Key]*intel.Statement, n)
		list := fakeList{n: n}
		said := &intel.Statement{Report: *listed}
		for key, ok := list.next(); ok; key, ok = list.next() {
			m[key] = said
		}
		fmt.Fprintf(os.Stderr, "a map of %d: %d bytes per indicator\n", n, (heap()-before)/uint64(n))
		benchQuestions(b, n, func(key extract.Key) bool { return m[key] != nil })
		runtime.KeepAlive(m)
	})
}

// BenchmarkFindInSQLite asks SQLite, for comparison: only whether the key is there.
func BenchmarkFindInSQLite(b *testing.B) {
	eachSize(b, func(b *testing.B, n int) {
		db, err := sql.Open("sqlite", filepath.Join(b.TempDir(), "db"))
		if err != nil {
			b.Fatal(err)
		}
		defer db.Close()
		fill(b, db, n)
		query, err := db.Prepare("SELECT 1 FROM indicator WHERE value = ?")
		if err != nil {
			b.Fatal(err)
		}
		benchQuestions(b, n, func(key extract.Key) (found bool) { return query.QueryRow(key.Value).Scan(&found) == nil })
	})
}

func fill(b *testing.B, db *sql.DB, n int) {
	b.Helper()
	tx, err := db.Begin()
	if err != nil {
		b.Fatal(err)
	}
	if _, err = tx.Exec("CREATE TABLE indicator (value TEXT PRIMARY KEY) WITHOUT ROWID"); err != nil {
		b.Fatal(err)
	}
	insert, err := tx.Prepare("INSERT OR IGNORE INTO indicator VALUES (?)")
	if err != nil {
		b.Fatal(err)
	}
	list := fakeList{n: n}
	for key, ok := list.next(); ok; key, ok = list.next() {
		if _, err := insert.Exec(key.Value); err != nil {
			b.Fatal(err)
		}
	}
	if err := tx.Commit(); err != nil {
		b.Fatal(err)
	}
}

func benchQuestions(b *testing.B, n int, find func(extract.Key) bool) {
	all := questions(n)
	for _, kind := range []string{"hit ip", "hit domain", "hit hash", "miss ip", "miss domain", "miss hash", "parent"} {
		keys := all[kind]
		for _, key := range keys { // pages that nobody has touched yet are not what is measured
			find(key)
		}
		b.Run(kind, func(b *testing.B) {
			b.ReportAllocs()
			i, found := 0, 0
			before := processorTime(b)
			for b.Loop() {
				if find(keys[i%len(keys)]) {
					found++
				}
				i++
			}
			b.ReportMetric(float64(processorTime(b)-before)/float64(i), "cpu-ns/op")
			b.ReportMetric(float64(found)/float64(i), "found")
		})
	}
}

// processorTime returns how long processors have worked for this process, which a busy machine does not change much.
func processorTime(b *testing.B) time.Duration {
	used := usage(b)
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

func usage(b *testing.B) (used syscall.Rusage) {
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return used
}

// BenchmarkFindNetwork asks for addresses among a million networks of two lengths, one in the other.
func BenchmarkFindNetwork(b *testing.B) {
	said := &intel.Statement{Source: "a", Report: *listed}
	builder := newBuilder("")
	builder.begin(Source{Name: "a"})
	var keys []extract.Key
	for i := range uint32(1 << 20) {
		addr := netip.AddrFrom4([4]byte{byte(i >> 12), byte(i >> 4), byte(i << 4), 0})
		bits := 20
		if i%16 == 1 {
			bits = 16
		}
		network := netip.PrefixFrom(addr, bits).Masked()
		if err := builder.take(intel.Entry{Subject: intel.Subject{Net: network}, Statement: said}); err != nil {
			b.Fatal(err)
		}
		if i%17 == 0 {
			addr = netip.AddrFrom4([4]byte{byte(i >> 12), byte(i >> 4), byte(i<<4) | byte(i&15), byte(i)})
			keys = append(keys, extract.Key{Type: extract.IP, Value: addr.String()})
		}
	}
	s := built(b, builder)
	rand.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	b.ReportAllocs()
	before, i := processorTime(b), 0
	for b.Loop() {
		if s.Find(keys[i%len(keys)]).Verdict != intel.Malicious {
			b.Fatalf("%v is not found", keys[i%len(keys)])
		}
		i++
	}
	b.ReportMetric(float64(processorTime(b)-before)/float64(i), "cpu-ns/op")
	b.ReportMetric(float64(len(s.feeds[0].data))/float64(s.Len()), "B/network")
}
