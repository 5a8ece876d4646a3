package lookup

import (
	"hash/maphash"
	"math"
	"math/rand/v2"
	"time"
	"unsafe"

	"iocpipe/extract"
	"iocpipe/intel"
)

// DefaultMaxWaiting is how many indicators may wait for a question when nobody says otherwise. On synthetic traces an
// eighth of it cost 0.013 of yield, more gained nothing.
const DefaultMaxWaiting = 4096

const (
	draws      = 8  // entries that are drawn when one must leave
	oldestTurn = 20 // every so many asks go to what has waited longest
	maxPicks   = 32 // what one scan finds at most
	scanStep   = 64 // entries that are scored before others get their turn at the table

	// picksHold is how long the finds of one scan are used. Up to one ask a second, each ask has its own scan; a
	// source that takes 50 a second shares one scan among 32 of them.
	picksHold seconds = 1

	// scoreHolds is how old a score may be that decides what leaves a full table. Scores change over minutes, and a
	// flood draws each entry many times a second.
	scoreHolds seconds = 1

	firstPause = 5 * time.Second // how long a value is left alone after an error; doubles each time
	maxPause   = time.Hour

	forever = time.Duration(math.MaxInt64)
)

// A SourceSet is a set of sources, by their place in the order of asking. There can be 32.
type SourceSet uint32

// MaxSources is how many sources a [SourceSet] can hold.
const MaxSources = 32

// Has reports whether the source at place i is in the set.
func (s SourceSet) Has(i int) bool { return s&(1<<i) != 0 }

// With returns the set with the source at place i added.
func (s SourceSet) With(i int) SourceSet { return s | 1<<i }

// A Sighting is one indicator, about which something is still to be asked, in one event.
type Sighting struct {
	extract.Key     // may alias the line
	extract.Context // may alias the line

	// Beside says that the event holds something that is known to be malicious, too.
	Beside bool

	// Held are the sources whose fresh answer is at hand: they are not asked.
	Held SourceSet

	// Was is the verdict of an answer that has expired, or [intel.Related] for what a malicious report names (it
	// is asked only when nothing else waits).
	Was intel.Verdict
}

// TableOptions say how large a [Table] is and for whom it is kept.
type TableOptions struct {
	MaxWaiting int               // how many indicators it holds at most; 0 means [DefaultMaxWaiting]
	Types      []extract.TypeSet // what each source can be asked about, in the order of asking; [MaxSources] at most
	Start      time.Time         // when the run began
	Seed       uint64            // for the draw of what leaves a full table, and for the jitter of pauses
}

// A Table holds the indicators that wait for a question and ranks them: it is the whole policy, without clocks, locks
// and goroutines. The [Scheduler] drives it live, lookup/plan against a simulated clock. It is for one goroutine.
type Table struct {
	max     int
	sources []extract.TypeSet // what each can be asked about
	start   time.Time
	entries []*entry
	index   map[extract.Key]*entry
	groups  groups
	alike   groups // by traits
	hot     hotHosts
	picks   []picks // by source
	random  *rand.Rand
	seed    maphash.Seed
	door    *door

	types    typeCounts
	asking   int    // entries that are being asked
	keyBytes int    // of the values
	evicted  uint64 // see Evicted

	// breathe is called between the steps of a scan, while the table is consistent: the Scheduler lets others in.
	breathe func()
}

// entry is one indicator that waits, or that is being asked. What a draw looks at stands first, in one cache line.
type entry struct {
	p, score float64 // the probability of a malicious answer and what asking is worth, as of scored
	scored   seconds
	stale    bool // sightings came after scored
	asking   bool
	was      intel.Verdict
	sightings

	key      extract.Key
	traits   traits // of its type and spelling
	asked    traits // all, when it was asked
	group    uint64 // hash; 0 for none
	place    int    // in Table.entries
	todo     SourceSet
	failures uint8
	retry    seconds // not to be asked before
}

// NewTable returns an empty table.
func NewTable(opt TableOptions) *Table {
	if opt.MaxWaiting == 0 {
		opt.MaxWaiting = DefaultMaxWaiting
	}
	seed := maphash.MakeSeed()
	return &Table{
		max:     opt.MaxWaiting,
		sources: opt.Types,
		start:   opt.Start,
		index:   make(map[extract.Key]*entry),
		groups:  newGroups(),
		alike:   newGroups(),
		hot:     newHotHosts(),
		picks:   make([]picks, len(opt.Types)),
		random:  rand.New(rand.NewPCG(opt.Seed, 0)),
		seed:    seed,
		door:    newDoor(seed, opt.MaxWaiting),
		breathe: func() {},
	}
}

// Want notes that s was seen at now. It returns the sources that may be asked something new on account of it: none,
// when the indicator waits already, is being asked, or is nobody's business.
func (t *Table) Want(s Sighting, now time.Time) SourceSet {
	at := t.since(now)
	if e := t.index[s.Key]; e != nil {
		e.add(at, s.Outcome, t.hash(s.Host), s.Beside)
		if s.Was == intel.Related { // another process's answer has named it
			e.was = s.Was
		}
		e.stale = true
		return 0
	}
	todo := t.mayAnswer(s.Type) &^ s.Held
	if todo == 0 {
		return 0
	}
	e := t.vacancy(now)
	if e == nil {
		return 0
	}
	t.enter(e, s, todo)
	e.add(at, s.Outcome, t.hash(s.Host), s.Beside)
	return todo
}

func (t *Table) mayAnswer(typ extract.Type) (set SourceSet) {
	for i, types := range t.sources {
		if types.Has(typ) {
			set = set.With(i)
		}
	}
	return set
}

// vacancy returns an entry to fill, in a full table that of another. It is nil when none can be had.
func (t *Table) vacancy(now time.Time) *entry {
	if len(t.entries) < t.max {
		return new(entry)
	}
	t.evicted++
	if !t.door.admit(now.Sub(t.start)) {
		return nil
	}
	return t.evict(t.since(now))
}

// evict takes out the least of a few entries drawn at random, and returns it to be filled: no order has to be kept for
// that, and what has shown itself is safe however many new values come. It is nil when all that were drawn are being
// asked.
func (t *Table) evict(at seconds) *entry {
	var least *entry
	lowest := math.Inf(1)
	for range draws {
		e := t.entries[t.random.IntN(len(t.entries))]
		if e.asking {
			continue
		}
		if e.stale || at-e.scored > scoreHolds {
			t.refresh(e, at)
		}
		if e.score < lowest {
			least, lowest = e, e.score
		}
	}
	if least != nil {
		t.remove(least)
		*least = entry{}
	}
	return least
}

func (t *Table) enter(e *entry, s Sighting, todo SourceSet) {
	e.key = s.Key.Clone()
	var registered string
	e.traits, registered = keyTraits(e.key)
	e.group = t.groupHash(e.key, registered)
	e.todo, e.was = todo, s.Was
	e.stale = true
	e.place = len(t.entries)
	t.entries = append(t.entries, e)
	t.index[e.key] = e
	t.door.enter(e.key)
	t.keyBytes += len(e.key.Value)
	t.types.add(e.key.Type)
}

// remove takes e out; the last entry fills its place.
func (t *Table) remove(e *entry) {
	last := len(t.entries) - 1
	t.entries[e.place] = t.entries[last]
	t.entries[e.place].place = e.place
	t.entries[last] = nil
	t.entries = t.entries[:last]
	delete(t.index, e.key)
	t.door.leave(e.key)
	t.keyBytes -= len(e.key.Value)
	if e.asking {
		t.asking--
	}
}

// Met notes that host met something malicious at now.
func (t *Table) Met(host string, now time.Time) { t.hot.met(t.hash(host), t.since(now)) }

func (t *Table) groupHash(key extract.Key, registered string) uint64 {
	if key.Type != extract.IP {
		return t.hash(registered)
	}
	if prefix := network(key.Value); prefix.IsValid() {
		return maphash.Comparable(t.seed, prefix)
	}
	return 0
}

// hash stands for a name that need not be kept; 0 is the hash of "" alone.
func (t *Table) hash(name string) uint64 {
	if name == "" {
		return 0
	}
	return maphash.String(t.seed, name) | 1
}

func (t *Table) since(now time.Time) seconds { return seconds(now.Sub(t.start).Seconds()) }

// allTraits returns everything that speaks for or against e at this moment.
func (t *Table) allTraits(e *entry, at seconds) traits {
	f := e.traits | e.sightings.traits(e.key.Type)
	f.setIf(t.hot.any(e.hosts[:e.hostCount], at), traitHotHost)
	f.setIf(e.first <= 60 && at > 120, traitEarly)
	f.setIf(t.types.rare(e.key.Type), traitRareType)
	return f
}

// probability estimates how likely e is malicious: from its traits and what the answers about others with the very same
// ones have shown, or from an old answer; and from its group.
func (t *Table) probability(e *entry, at seconds) float64 {
	p, ok := oldOdds(e.was)
	if !ok {
		f := t.allTraits(e, at)
		p = t.alike.of(f.group()).pull(sigmoid(f.logOdds()))
	}
	return t.groups.of(e.group).pull(p)
}

// relatedDiscount puts what a malicious report names behind everything of which nothing is known.
const relatedDiscount = 1e-6

// refresh works out the score of e: the probability of a malicious answer, times what that would be worth.
func (t *Table) refresh(e *entry, at seconds) {
	e.p = t.probability(e, at)
	e.score = e.p * e.worth(at)
	if e.was == intel.Related {
		e.score *= relatedDiscount
	}
	e.scored, e.stale = at, false
}

// Next takes the indicator that source should be asked about now; it counts as being asked until [Table.Answer],
// [Table.Skip] or [Table.Fail]. When there is none, ok is false, and wait is how long until a pause ends that stands
// in the way.
func (t *Table) Next(source int, now time.Time) (key extract.Key, wait time.Duration, ok bool) {
	at := t.since(now)
	p := &t.picks[source]
	e := t.pick(p, source, at)
	if e == nil {
		return extract.Key{}, t.wait(source, at), false
	}
	p.asks++
	e.asking, e.asked = true, t.allTraits(e, at)
	t.asking++
	return e.key, 0, true
}

// picks is what one source is asked next.
type picks struct {
	asks   int // so far
	ranked []ranked
	found  seconds // when the scan began
}

type ranked struct {
	key   extract.Key
	score float64
}

func (t *Table) pick(p *picks, source int, at seconds) *entry {
	if p.asks%oldestTurn == oldestTurn-1 {
		if e := t.oldest(source, at); e != nil {
			return e
		}
	}
	if at-p.found > picksHold {
		p.ranked = p.ranked[:0]
	}
	if e := t.take(p, source, at); e != nil {
		return e
	}
	t.scan(p, source, at)
	return t.take(p, source, at)
}

// take returns the best of the finds that can still be asked.
func (t *Table) take(p *picks, source int, at seconds) *entry {
	for len(p.ranked) > 0 {
		e := t.index[p.ranked[0].key]
		p.ranked = p.ranked[1:]
		if e != nil && e.askable(source, at) {
			return e
		}
	}
	return nil
}

func (e *entry) askable(source int, at seconds) bool {
	return !e.asking && e.todo.Has(source) && e.retry <= at
}

// scan scores every entry and keeps the best. Nothing is sorted in advance, because the score depends on the time and
// on all that was learned since. (Entries that move while others have their turn are missed, or met twice: no harm.)
func (t *Table) scan(p *picks, source int, at seconds) {
	p.ranked, p.found = make([]ranked, 0, maxPicks+1), at
	for i := 0; i < len(t.entries); i++ {
		if e := t.entries[i]; e.askable(source, at) {
			t.refresh(e, at)
			p.offer(ranked{e.key, e.score})
		}
		if i%scanStep == scanStep-1 {
			t.breathe()
		}
	}
}

// offer keeps r if it is among the best.
func (p *picks) offer(r ranked) {
	i := len(p.ranked)
	for i > 0 && p.ranked[i-1].score < r.score {
		i--
	}
	if i == maxPicks {
		return
	}
	p.ranked = append(p.ranked, ranked{})
	copy(p.ranked[i+1:], p.ranked[i:])
	p.ranked[i] = r
	if len(p.ranked) > maxPicks {
		p.ranked = p.ranked[:maxPicks]
	}
}

// oldest returns what has waited longest. It keeps what the weights disfavour from never being tried.
func (t *Table) oldest(source int, at seconds) *entry {
	var oldest *entry
	for _, e := range t.entries {
		if e.askable(source, at) && e.was != intel.Related && (oldest == nil || e.first < oldest.first) {
			oldest = e
		}
	}
	return oldest
}

// Oldest returns how long the indicator has waited that has waited longest.
func (t *Table) Oldest(now time.Time) time.Duration {
	at := t.since(now)
	first := at
	for _, e := range t.entries {
		first = min(first, e.first)
	}
	return (at - first).duration()
}

// wait returns how long until a pause ends that keeps an entry from source.
func (t *Table) wait(source int, at seconds) time.Duration {
	wait := forever
	for _, e := range t.entries {
		if !e.asking && e.todo.Has(source) && e.retry > at {
			wait = min(wait, (e.retry-at).duration()+1) // rounded up
		}
	}
	return wait
}

// Answer notes what source said about key. A malicious answer takes key out for all sources, and with it the
// indicators that the report names, which are known from then on; any other takes it out for this source.
func (t *Table) Answer(source int, key extract.Key, verdict intel.Verdict, related []extract.Key, now time.Time) {
	e := t.index[key]
	if e == nil {
		return
	}
	t.groups.add(e.group, verdict == intel.Malicious)
	t.alike.add(e.asked.group(), verdict == intel.Malicious)
	if verdict != intel.Malicious {
		e.was = verdict
		t.done(e, source)
		return
	}
	for _, host := range e.hosts[:e.hostCount] {
		t.hot.met(host, t.since(now))
	}
	t.remove(e)
	for _, key := range related {
		if e := t.index[key]; e != nil && !e.asking {
			t.remove(e)
		}
	}
}

// Skip notes that source need not, or cannot, be asked about key.
func (t *Table) Skip(source int, key extract.Key) {
	if e := t.index[key]; e != nil {
		t.done(e, source)
	}
}

// done ends the asking of e, and takes it out when no other source is left.
func (t *Table) done(e *entry, source int) {
	t.rest(e)
	e.todo &^= 1 << source
	if e.todo == 0 {
		t.remove(e)
	}
}

// Fail notes that source gave no answer about key. Key waits on, with its counts, and pauses: an error is no answer.
func (t *Table) Fail(key extract.Key, now time.Time) {
	e := t.index[key]
	if e == nil {
		return
	}
	t.rest(e)
	pause := min(firstPause<<e.failures, maxPause)
	e.failures = min(e.failures+1, 10)
	e.retry = t.since(now) + seconds(pause.Seconds()*(0.75+0.5*t.random.Float64()))
	e.stale = true
}

// Postpone notes that another process asks about key: it waits on, and pauses until that one's answer should be here.
func (t *Table) Postpone(key extract.Key, now time.Time) {
	if e := t.index[key]; e != nil {
		t.rest(e)
		e.retry = t.since(now) + seconds(firstPause.Seconds())
	}
}

// Release notes that key was not asked after all.
func (t *Table) Release(key extract.Key) {
	if e := t.index[key]; e != nil {
		t.rest(e)
	}
}

func (t *Table) rest(e *entry) {
	if e.asking {
		e.asking = false
		t.asking--
	}
}

// Waiting returns how many indicators wait for a question; those that are being asked are not among them.
func (t *Table) Waiting() int { return len(t.entries) - t.asking }

// Evicted returns how many indicators left a full table unasked, or found no place in it.
func (t *Table) Evicted() uint64 { return t.evicted }

// Bytes returns about how much memory the waiting indicators take, and the door in front of them.
func (t *Table) Bytes() int {
	const perEntry = int(unsafe.Sizeof(entry{})) + 8 /* its pointer */ + 64 /* its place in the map */
	return len(t.entries)*perEntry + t.keyBytes + t.door.bytes()
}
