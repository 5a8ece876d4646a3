package local

import (
	"cmp"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"hash/maphash"
	"net/netip"
	"slices"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"iocpipe/extract"
	"iocpipe/intel"
)

// A builder takes the entries of lists and makes records of them, in runs that are each sorted by hash, to be merged
// into a segment. With a folder to spill to it needs the same memory however many there are.
type builder struct {
	now     time.Time
	removed bool // entries say what was removed, not what is known
	sources []sourceRow
	results []Result

	words *scratch // the statements of all sources, one source after the other
	runs  *scratch
	ends  []int64 // of the runs

	arena   []byte // the records of the run at hand
	order   []place
	records uint64 // of all runs

	seed   maphash.Seed
	known  *simplelru.LRU[uint64, *written] // by the hash of the statement
	last   *intel.Statement                 // entries in a row often share one
	lastAt *written
	blob   []byte // scratch memory
	item   []byte
}

// A place is a record in the arena.
type place struct {
	hash uint64
	at   uint32
}

// A written is a statement that has been written.
type written struct {
	at      uint64
	sum     uint32
	related bool // what it names has been related
}

const (
	runSize    = 32 << 20  // of a run, in bytes, without the order
	knownWords = 1 << 14   // how many statements are remembered to be shared
	recordHead = 8 + 4 + 4 // of a record: hash, sum and length
	longest    = 16 << 20  // of a value or a URL, in bytes
)

// newBuilder returns a builder that spills into files in a folder, or nowhere when the folder is "".
func newBuilder(folder string) *builder {
	known, _ := simplelru.NewLRU[uint64, *written](knownWords, nil) // errs only for sizes below 1
	return &builder{
		now: time.Now(), words: newScratch(folder), runs: newScratch(folder), seed: maphash.MakeSeed(), known: known,
	}
}

func (b *builder) close() {
	b.words.close()
	b.runs.close()
}

// begin says that the entries to come are from a source.
func (b *builder) begin(src Source) {
	b.sources = append(b.sources, sourceRow{Source: src, At: uint64(b.words.size)})
	b.results = append(b.results, Result{Source: src.Name})
	b.known.Purge() // the statements of a source stand together
	b.last, b.lastAt = nil, nil
}

var errNoSubject = errors.New("an entry without a value or a statement")

// take adds an entry of the source at hand.
func (b *builder) take(e intel.Entry) error {
	n, ok := nameOfSubject(&e.Subject)
	if !ok && b.removed && e.URL != "" {
		n, ok = name{class: url, text: e.URL}, true
	}
	if !ok || e.Statement == nil {
		return errNoSubject
	}
	if e.Expired(b.now) {
		b.results[len(b.results)-1].Expired++
		return nil
	}
	verdict := e.Report.Verdict()
	if verdict == intel.NoVerdict && e.Relation == "" && !b.removed {
		return nil // a report of nothing says nothing
	}
	w, err := b.write(e.Statement)
	if err != nil {
		return err
	}
	it := item{verdict: verdict, source: uint32(len(b.sources) - 1), statement: w.at}
	it.kind, it.extra = kindOf(&e)
	if n.class == url {
		it.kind, it.extra = exact, nil
	}
	if err := b.put(&n, &it, w.sum); err != nil {
		return err
	}
	if verdict != intel.Malicious || w.related || it.kind == related || it.kind == below || e.Net.IsValid() {
		return nil
	}
	w.related = true // once for all that share the statement
	return b.relate(&e, it, w)
}

// kindOf returns how an entry is kept.
func kindOf(e *intel.Entry) (k kind, extra []byte) {
	switch {
	case e.Relation != "":
		return related, appendRelation(nil, &relation{via: e.Via, kind: e.Relation, last: e.Report.LastSeen()})
	case e.URL != "":
		return byURL, []byte(e.URL)
	case e.Below:
		return below, nil
	}
	return exact, nil
}

// relate adds what the malicious report of an entry names.
func (b *builder) relate(e *intel.Entry, it item, w *written) error {
	via := e.Key
	if e.URL != "" {
		via = extract.Key{Value: e.URL}
	}
	it.kind = related
	var extra []byte
	for r := range e.Report.Relations() {
		n, ok := nameOf(r.Key)
		if !ok || r.Key == e.Key || !tells(r.Key) {
			continue
		}
		extra = appendRelation(extra[:0], &relation{via, r.Kind, r.Last, true})
		it.extra = extra
		if err := b.put(&n, &it, w.sum); err != nil {
			return err
		}
	}
	return nil
}

// tells reports whether it tells something that a malicious report names key. Many a malicious name is taken down by
// letting it resolve to no host at all, or to whoever asks.
func tells(key extract.Key) bool {
	if key.Type != extract.IP {
		return true
	}
	addr, err := netip.ParseAddr(key.Value)
	return err == nil && (addr.IsGlobalUnicast() || addr.IsLinkLocalUnicast())
}

// write adds a statement to those of the source at hand, unless it is there.
func (b *builder) write(s *intel.Statement) (*written, error) {
	if s == b.last {
		return b.lastAt, nil
	}
	blob, text := appendStatement(b.blob[:0], s)
	b.blob = blob
	hash := maphash.Bytes(b.seed, blob)
	w, ok := b.known.Get(hash)
	if !ok {
		src := &b.sources[len(b.sources)-1]
		w = &written{at: uint64(b.words.size) - src.At, sum: crc32.Checksum(blob[text:], castagnoli)}
		if err := b.words.write(blob); err != nil {
			return nil, err
		}
		src.Size = uint64(b.words.size) - src.At
		src.Expiring = src.Expiring || !s.Expires.IsZero()
		b.known.Add(hash, w)
	}
	b.last, b.lastAt = s, w
	return w, nil
}

// put adds a record: the hash of the name, the sum of the statement, the length of what follows, and the name with this
// one item as a group.
func (b *builder) put(n *name, it *item, sum uint32) error {
	if len(n.text) > longest || len(it.extra) > longest {
		return errors.New("a value of more than 16 MiB")
	}
	if len(b.arena) >= runSize {
		if err := b.endRun(); err != nil {
			return err
		}
	}
	start := len(b.arena)
	hash := n.hash()
	b.order = append(b.order, place{hash, uint32(start)})
	b.arena = binary.LittleEndian.AppendUint64(b.arena, hash)
	b.arena = binary.LittleEndian.AppendUint32(b.arena, sum)
	b.arena = append(b.arena, 0, 0, 0, 0)
	b.item = appendItem(b.item[:0], it)
	b.arena = appendGroup(b.arena, n.class, n.stored(), b.item)
	binary.LittleEndian.PutUint32(b.arena[start+12:], uint32(len(b.arena)-start-recordHead))
	b.records++
	return nil
}

// endRun sorts the run at hand and writes it away.
func (b *builder) endRun() error {
	slices.SortFunc(b.order, func(p, q place) int {
		return cmp.Or(cmp.Compare(p.hash, q.hash), cmp.Compare(p.at, q.at))
	})
	for _, p := range b.order {
		rec := b.arena[p.at:]
		if err := b.runs.write(rec[:recordHead+binary.LittleEndian.Uint32(rec[12:])]); err != nil {
			return err
		}
	}
	b.ends = append(b.ends, b.runs.size)
	b.arena, b.order = b.arena[:0], b.order[:0]
	return nil
}
