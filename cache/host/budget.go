package host

import (
	"database/sql"
	"errors"
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"iocpipe/cache"
	"iocpipe/extract"
)

const (
	// minSlack and maxSlack bound [slack].
	minSlack, maxSlack = 100 * time.Millisecond, time.Second

	// maxJitter bounds by how much processes wait at random after a token came.
	maxJitter = 250 * time.Millisecond

	// rivalFor is for how many tokens' time, and a second, another process is reckoned with that took or missed one.
	rivalFor = 16

	// pausedFor is how long a Budget waits before it looks again whether asking is still paused.
	pausedFor = time.Second

	// maxHold is the longest time that a source is left alone because it asked for it: a clock that was wrong, or went
	// back, must not silence it for good.
	maxHold = 24 * time.Hour
)

// meter is the generic cell rate algorithm (ITU-T I.371): a token bucket whose whole state is due, the time when it
// will be full.
// No window of time sees more than one request per interval and, at once, tolerance/interval + 1.
type meter struct{ interval, tolerance time.Duration }

func newMeter(perSecond float64, burst int) meter {
	const forever = math.MaxInt64 / 8 // so that sums do not overflow
	interval := min(float64(time.Second)/perSecond, forever)
	tolerance := min(float64(burst-1)*interval, forever)
	return meter{time.Duration(interval), time.Duration(max(tolerance-slack(tolerance), 0))}
}

// slack is how late a request may come to its source after its token was taken, on this host's account (it is busy, the
// connection slow): a third of the time that a burst is ahead. It is taken off the burst: else tokens that were taken one
// by one could be met by the source all at once.
func slack(tolerance float64) float64 {
	return max(float64(minSlack), min(tolerance/3, float64(maxSlack)))
}

// empty is the due, from now on, of a bucket without any token.
func (m meter) empty() time.Duration { return m.interval + m.tolerance }

// admit returns the due after a request now. When there is no token for it, wait says when there will be one, and next
// is due, but for a clock that went back: then the bucket is empty now.
func (m meter) admit(due, now time.Duration) (next, wait time.Duration) {
	due = min(max(due, now), now+m.empty())
	if early := due - now - m.tolerance; early > 0 {
		return due, early
	}
	return due + m.interval, 0
}

// Budget is the budget of one source, shared by the processes of the host. It is safe for concurrent use.
//
// It is exact for the whole host: it holds across restarts, crashes and changes of the clock, and whatever their
// timing, the requests of all processes never exceed rate × time + burst. The processes have no order; whoever waits
// for a token tries for it after a short random time, and whoever took the last one a little later than the others.
type Budget struct {
	state  *State
	source string
	rate   float64
	burst  int
	meter  meter

	mu        sync.Mutex
	notBefore time.Time     // there is no token earlier, as far as this process knows
	rival     time.Time     // until when another process is reckoned with
	lastDue   time.Duration // of the bucket, as this process saw it last
	asking    map[extract.Key]asking
}

// asking is a question under way.
type asking struct {
	id    int64 // in the log
	since time.Time
}

// Budget returns the budget of source, of perSecond requests and burst at once, both above 0. Processes should agree on
// them: each counts what all have taken by its own.
func (s *State) Budget(source string, perSecond float64, burst int) *Budget {
	return &Budget{
		state: s, source: source, rate: perSecond, burst: burst, meter: newMeter(perSecond, burst),
		asking: make(map[extract.Key]asking),
	}
}

// Delay returns how long after now it is worth to try [Budget.Take], 0 when it is at once. It asks nobody.
func (b *Budget) Delay(now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return max(b.notBefore.Sub(now), 0)
}

// Tokens returns how many requests could be made at once, as far as this process knows. It asks nobody.
func (b *Budget) Tokens(time.Time) float64 {
	_, now := b.state.clock()
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.meter.left(b.lastDue, now, true)
}

// Take spends a token on asking about key, leases key to this process and logs the question, all on disk before it
// returns [cache.Granted]; [Budget.Done] must follow. Any other grant takes nothing; after [cache.NotYet], Delay says
// when to try again.
func (b *Budget) Take(key extract.Key, now time.Time) cache.Grant {
	if paused(b.state.dir) {
		b.wait(now, pausedFor)
		return cache.NotYet
	}
	var t taking
	err := b.state.write(func(f *file) error {
		t = taking{key: key, now: now}
		return f.transact(func(tx *sql.Tx) error { return b.take(tx, &t) })
	})
	if err != nil {
		b.wait(now, retryEvery)
		return cache.NotYet
	}
	b.settle(t)
	return t.grant
}

func (b *Budget) wait(now time.Time, d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.notBefore = now.Add(d)
}

// settle remembers what came of t.
func (b *Budget) settle(t taking) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if t.grant == cache.Granted {
		b.asking[t.key.Clone()] = asking{t.id, t.now}
	}
	b.lastDue = t.due
	if t.rival {
		b.rival = t.now.Add(b.rivalFor())
	}
	b.notBefore = t.now.Add(t.wait)
	if t.now.Before(b.rival) {
		b.notBefore = b.notBefore.Add(b.jitter(t))
	}
}

func (b *Budget) rivalFor() time.Duration {
	return min(b.meter.interval, time.Hour)*rivalFor + time.Second
}

// jitter is how long to leave the tokens to the others; the one who took the last one gives them a head start. While
// the bucket has room for what comes, there is time.
func (b *Budget) jitter(t taking) time.Duration {
	short := min(b.meter.interval/4, maxJitter)
	long := min(max(b.meter.tolerance/2, short), maxJitter)
	switch {
	case t.grant == cache.Granted && t.wait == 0: // there are more
		return short + rand.N(short+1)
	case t.grant == cache.Granted:
		return short + rand.N(long+1)
	case t.wait > 0:
		return rand.N(long + 1)
	}
	return 0
}

// taking is one Take, and what comes of it.
type taking struct {
	key extract.Key
	now time.Time

	grant cache.Grant
	wait  time.Duration // until there is a token
	due   time.Duration // of the bucket after it
	rival bool          // another process takes tokens, or waits for one
	row   budgetRow
	id    int64 // of the question in the log
}

// budgetRow is the state of a bucket that all processes share.
type budgetRow struct {
	boot          string
	due           time.Duration
	taker, waiter string
	waited        time.Duration
}

// take decides on t, in a transaction that nobody else writes beside.
func (b *Budget) take(tx *sql.Tx, t *taking) error {
	boot, now := b.state.clock()
	due, err := b.due(tx, t, boot, now)
	if err != nil {
		return err
	}
	next, wait := b.meter.admit(due, now)
	t.due = next
	if held, err := b.held(tx, t.now); err != nil || held > 0 {
		t.grant, t.wait = cache.NotYet, held
		return err
	}
	if wait > 0 {
		t.grant, t.wait = cache.NotYet, wait
		return b.refuse(tx, t, boot, now, next)
	}
	if t.grant, err = b.needed(tx, t, boot, now); err != nil || t.grant != cache.Granted {
		t.due = due
		return err
	}
	if _, after := b.meter.admit(next, now); after > 0 {
		t.wait = after
	}
	if err := b.spend(tx, t, boot, next); err != nil {
		return err
	}
	return b.lease(tx, t, boot, now)
}

// due returns when the bucket will be full. One that was last used before the host was booted counts as empty when that
// was done, and so does one of a file that was lost.
func (b *Budget) due(tx *sql.Tx, t *taking, boot string, now time.Duration) (time.Duration, error) {
	r := &t.row
	err := tx.QueryRow(`SELECT boot, due, taker, waiter, waited FROM budgets WHERE source = ?`, b.source).
		Scan(&r.boot, &r.due, &r.taker, &r.waiter, &r.waited)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return b.firstDue(tx, now)
	case err != nil:
		return 0, err
	case r.boot != boot:
		return b.meter.empty(), nil
	}
	me := b.state.owner
	t.rival = r.taker != me || r.waiter != me && r.waiter != "" && now-r.waited < b.rivalFor()
	return r.due, nil
}

// held returns how long the source wants to be left alone.
func (b *Budget) held(tx *sql.Tx, now time.Time) (time.Duration, error) {
	var until int64
	err := tx.QueryRow(`SELECT until FROM holds WHERE source = ?`, b.source).Scan(&until)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	if held := time.UnixMilli(until).Sub(now); held <= maxHold {
		return max(held, 0), err
	}
	return 0, err
}

// Hold gives nobody on the host a token until then, which is at most a day away: the source has asked to be left alone.
// Nothing shortens it, and it outlives the process.
func (b *Budget) Hold(until time.Time) {
	_ = b.state.write(func(f *file) error { // it says so itself when it fails
		_, err := f.write.Exec(`INSERT INTO holds VALUES (?1, ?2) ON CONFLICT (source) DO UPDATE SET until = ?2
			WHERE until < ?2 OR until > ?3`, b.source, until.UnixMilli(), time.Now().Add(maxHold).UnixMilli())
		return err
	})
}

// firstDue returns when a bucket will be full that has no state yet.
func (b *Budget) firstDue(tx *sql.Tx, now time.Duration) (time.Duration, error) {
	var lost bool
	if err := tx.QueryRow(`SELECT count(*) > 0 FROM marks WHERE name = ?`, markLost).Scan(&lost); err != nil || !lost {
		return 0, err
	}
	return now + b.meter.empty(), nil
}

// needed reports whether the question is still to be asked, and by this process.
func (b *Budget) needed(tx *sql.Tx, t *taking, boot string, now time.Duration) (cache.Grant, error) {
	var leased, answered bool
	err := tx.QueryRow(`SELECT
		EXISTS (SELECT 1 FROM leases WHERE value = ?1 AND type = ?2
			AND owner <> ?3 AND boot = ?4 AND until BETWEEN ?5 AND ?6),
		EXISTS (SELECT 1 FROM answers WHERE value = ?1 AND type = ?2
			AND expires > ?7 AND (source = ?8 OR verdict = 'malicious'))`,
		t.key.Value, t.key.Type.String(), b.state.owner, boot, int64(now), int64(now+b.state.opt.Lease),
		t.now.UnixMilli(), b.source).Scan(&leased, &answered)
	switch {
	case err != nil:
		return cache.NotYet, err
	case answered:
		return cache.Answered, nil
	case leased:
		return cache.Elsewhere, nil
	}
	return cache.Granted, nil
}

// spend writes the state of the bucket.
func (b *Budget) spend(tx *sql.Tx, t *taking, boot string, due time.Duration) error {
	_, err := tx.Exec(`INSERT INTO budgets (source, boot, due, taker, taken, waiter, waited, per_second, burst)
		VALUES (?1, ?2, ?3, ?4, ?5, '', 0, ?6, ?7) ON CONFLICT (source) DO UPDATE SET
		boot = ?2, due = ?3, taker = ?4, taken = ?5, per_second = ?6, burst = ?7`,
		b.source, boot, int64(due), b.state.owner, t.now.UnixMilli(), b.rate, b.burst)
	return err
}

// refuse lets whoever takes all the tokens know, now and then, that others wait. Where the clock went back, the time of
// the bucket counts from here.
func (b *Budget) refuse(tx *sql.Tx, t *taking, boot string, now, due time.Duration) error {
	known := t.row.waiter != "" && now-t.row.waited < b.rivalFor()/4 && now >= t.row.waited
	if known && due >= t.row.due {
		return nil
	}
	if t.row.taker == "" { // the file was lost: the bucket fills from now on
		return b.spend(tx, t, boot, due)
	}
	_, err := tx.Exec(`UPDATE budgets SET waiter = ?, waited = ?, due = min(due, ?) WHERE source = ? AND boot = ?`,
		b.state.owner, int64(now), int64(due), b.source, t.row.boot)
	return err
}

// lease takes the indicator, throws out leases that have ended, and logs the question.
func (b *Budget) lease(tx *sql.Tx, t *taking, boot string, now time.Duration) error {
	owner, until := b.state.owner, int64(now+b.state.opt.Lease)
	value, typ := t.key.Value, t.key.Type.String()
	_, err := tx.Exec(`DELETE FROM leases WHERE boot <> ? OR until NOT BETWEEN ? AND ?`, boot, int64(now), until)
	if err != nil {
		return err
	}
	_, err = tx.Exec(`INSERT OR REPLACE INTO leases (value, type, owner, boot, until) VALUES (?, ?, ?, ?, ?)`,
		value, typ, owner, boot, until)
	if err != nil {
		return err
	}
	asked, err := tx.Exec(`INSERT INTO asked (at, type, value, source, owner, outcome, took)
		VALUES (?, ?, ?, ?, ?, '', 0)`, t.now.UnixMilli(), typ, value, b.source, owner)
	if err != nil {
		return err
	}
	if t.id, err = asked.LastInsertId(); err != nil {
		return err
	}
	_, err = tx.Exec(`DELETE FROM asked WHERE id <= ?`, t.id-int64(b.state.opt.MaxAsked))
	return err
}

// done is the end of a question.
type done struct {
	id      int64
	owner   string
	outcome string
	took    time.Duration
}

// Done ends the question about key that was granted: outcome, such as a verdict or what went wrong, goes to the log,
// and the lease ends. An answer must be put before: whoever then gets the lease finds it.
func (b *Budget) Done(key extract.Key, outcome string, now time.Time) {
	b.mu.Lock()
	asked, ok := b.asking[key]
	delete(b.asking, key)
	b.mu.Unlock()
	if ok {
		b.state.queue.add(note{key: key.Clone(), done: &done{
			asked.id, b.state.owner, outcome, now.Sub(asked.since),
		}}, b.state.opt.OnTrouble)
	}
}
