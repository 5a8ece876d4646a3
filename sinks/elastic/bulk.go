package elastic

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"
)

// The limits that a Bulk has unless it is told others.
const (
	DefaultMaxBytes    = 5 << 20
	DefaultMaxItems    = 1000
	DefaultMaxHeld     = 64 << 20
	DefaultMaxInFlight = 4
)

// manyRefused is how many refused documents, the first of all, make a fault of configuration of it.
const manyRefused = 100

// BulkOptions are the settings of a [Bulk]. Zero values stand for the defaults.
type BulkOptions struct {
	MaxBytes    int // of a request, before compression; a larger document goes alone
	MaxItems    int // of a request
	MaxHeld     int // bytes of documents without a final outcome, over which Add waits
	MaxInFlight int // requests at once, at most; it begins with one

	// GiveUp is how long nothing may be taken before Bulk ends with the error; 0 waits for ever.
	GiveUp time.Duration

	// DeadLetters keeps what is refused for good. It is told of several at once and returns when they are safe. Its error
	// ends the Bulk; without it, so does the first refusal.
	DeadLetters func([]Letter) error

	// KeepUnsent says that what has no final outcome when the Bulk ends goes to the dead letters: the input cannot be
	// read again.
	KeepUnsent bool

	// Waiting is told why requests have to be repeated, when that begins, and nil when they are taken again. Refused is told
	// of the first refusal of each index and type of error. Both may be nil.
	Waiting func(error)
	Refused func(index string, e Error)

	// Moved is told that what is written by the name of an alias or a data stream goes to another index now. Remap is asked
	// about a document that its index refuses because of the mapping, with the number of the time, 1 or 2, and says whether
	// it is to be sent again: as what, or as it is if that is nil. Should it become a dead letter, that is as it was. Both may
	// be nil.
	Moved func(name string)
	Remap func(index string, e Error, document []byte, time int) (as []byte, again bool)
}

// Counts say what became of documents: of those added, none is missing at the end, unless Unsent says so, which also
// counts what Add kept instead.
type Counts struct {
	Added       int64
	Indexed     int64
	Duplicates  int64 // were there already, under the same _id
	DeadLetters int64
	Unsent      int64 // without a final outcome when the Bulk ended; they may be among the dead letters, see KeepUnsent

	Retried  int64 // times that a document was sent again
	Requests int64
	Held     int64 // bytes that wait for their outcome
}

// A doer sends a request; it is a [Client].
type doer interface {
	Do(ctx context.Context, method, path string, query url.Values, body []byte) (*Response, error)
}

// A Bulk sends documents by the bulk API and follows each to its final outcome: indexed, there already, or among the dead
// letters. What may still be taken is sent again, alone, with growing pauses; meanwhile [Bulk.Add] waits.
//
// A request leaves as soon as none is under way, with what is there; more than one at a time only when they are full. So a
// document that comes alone is not held back, and a busy server gets full requests.
type Bulk struct {
	to      doer
	options BulkOptions
	ctx     context.Context // of requests and pauses; done when the Bulk has ended
	end     context.CancelCauseFunc

	mu      sync.Mutex
	changed *sync.Cond // Held shrank, a request came back, or the Bulk has ended
	counts  Counts
	pending []*item // not sent yet
	bytes   int     // of pending
	calls   []*call // whose items, or those of a call before, are not all final
	running int     // batches under way, pauses included
	pace    pace
	closing bool
	refused map[string]bool // what Refused was told of
	unfit   map[string]Error
	goes    map[string]string // to which index what is written by a name goes
}

// An item is one document with its action.
type item struct {
	pair     []byte // both lines, with their line feeds
	call     *call
	final    bool
	remapped int    // times that Remap was asked
	came     []byte // pair, as it was, once Remap has changed it
	attempts int
}

// A call is one Add: calls become final in their order.
type call struct {
	items []item
	size  int
	open  int // items without a final outcome
	after []func()
}

// NewBulk returns a Bulk. It must be closed.
func (c *Client) NewBulk(options BulkOptions) *Bulk { return newBulk(c, options) }

func newBulk(to doer, o BulkOptions) *Bulk {
	for _, limit := range []struct {
		value    *int
		standard int
	}{{&o.MaxBytes, DefaultMaxBytes}, {&o.MaxItems, DefaultMaxItems}, {&o.MaxHeld, DefaultMaxHeld}, {&o.MaxInFlight, DefaultMaxInFlight}} {
		if *limit.value <= 0 {
			*limit.value = limit.standard
		}
	}
	b := &Bulk{to: to, options: o, refused: make(map[string]bool), unfit: make(map[string]Error), goes: make(map[string]string)}
	b.pace = pace{limit: 1, most: o.MaxInFlight, maxBytes: o.MaxBytes}
	b.changed = sync.NewCond(&b.mu)
	b.ctx, b.end = context.WithCancelCause(context.Background())
	return b
}

var errClosed = errors.New("closed")

// Add takes documents, each the two lines of a bulk item whose action is create or index, and copies them. It waits while
// too much is held. Its error is why the Bulk has ended, or ctx's; then nothing of pairs was taken, but with KeepUnsent it
// is among the dead letters, unless [ErrNotKept] says otherwise.
func (b *Bulk) Add(ctx context.Context, pairs []byte) error {
	c, err := newCall(pairs)
	if err != nil || c == nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.await(ctx, func() bool { return b.counts.Held == 0 || int(b.counts.Held)+c.size <= b.options.MaxHeld }); err != nil {
		if b.options.KeepUnsent {
			err = errors.Join(err, b.keep(err, c))
		}
		return err
	}
	b.counts.Held += int64(c.size)
	b.counts.Added += int64(c.open)
	b.calls = append(b.calls, c)
	for i := range c.items {
		b.pending = append(b.pending, &c.items[i])
	}
	b.bytes += c.size
	b.dispatch()
	return nil
}

// await waits, with b.mu held, until good holds, the Bulk has ended, or ctx is done, of which it returns the error.
func (b *Bulk) await(ctx context.Context, good func() bool) error {
	defer context.AfterFunc(ctx, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.changed.Broadcast()
	})()
	for b.ctx.Err() == nil && ctx.Err() == nil && !good() {
		b.changed.Wait()
	}
	if b.ctx.Err() != nil {
		return context.Cause(b.ctx)
	}
	return context.Cause(ctx)
}

// newCall copies pairs and cuts them into items; nil when there are none.
func newCall(pairs []byte) (*call, error) {
	if len(pairs) == 0 {
		return nil, nil
	}
	c := &call{size: len(pairs), items: make([]item, 0, bytes.Count(pairs, []byte("\n"))/2)}
	for rest := bytes.Clone(pairs); len(rest) > 0; {
		action := bytes.IndexByte(rest, '\n') + 1
		document := bytes.IndexByte(rest[action:], '\n') + 1
		if action == 0 || document <= 1 || !isAction(rest[:action]) {
			return nil, fmt.Errorf("not an action and a document, each a line: %.60q", rest)
		}
		n := action + document
		c.items = append(c.items, item{pair: rest[:n:n], call: c})
		rest = rest[n:]
	}
	c.open = len(c.items)
	return c, nil
}

func isAction(line []byte) bool {
	return bytes.HasPrefix(line, []byte(`{"create":{`)) || bytes.HasPrefix(line, []byte(`{"index":{`))
}

// linesOf returns the action and the document of a pair, without their line feeds.
func linesOf(pair []byte) (action, document []byte) {
	action, document, _ = bytes.Cut(pair, lineFeed)
	return action, bytes.TrimSuffix(document, lineFeed)
}

var lineFeed = []byte("\n")

// index returns where an item is to go; an unreadable action is of the index "".
func (it *item) index() string {
	action, _ := linesOf(it.pair)
	_, to, _ := parseAction(action)
	return to.Index
}

// After calls done once everything that was added so far has its final outcome: at once, or later on a goroutine of the
// Bulk's. The calls come in order, and must not call the Bulk. After an end with an error some never come.
func (b *Bulk) After(done func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.calls) == 0 {
		done()
		return
	}
	last := b.calls[len(b.calls)-1]
	last.after = append(last.after, done)
}

// Counts returns what has been counted so far.
func (b *Bulk) Counts() Counts {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.counts
}

// Close waits until everything has its final outcome, or ctx is done, and ends the Bulk. The error says why something is
// left, which Counts.Unsent counts.
func (b *Bulk) Close(ctx context.Context) (Counts, error) {
	b.mu.Lock()
	b.closing = true
	b.dispatch()
	err := b.await(ctx, func() bool { return len(b.calls) == 0 })
	b.mu.Unlock()
	b.stop(errClosed)

	b.mu.Lock()
	defer b.mu.Unlock()
	for b.running > 0 {
		b.changed.Wait() // short: their requests were cancelled
	}
	if len(b.calls) == 0 && b.counts.Unsent == 0 {
		return b.counts, nil // the last came in while the time was over
	}
	err = errors.Join(err, b.keep(err, b.calls...))
	return b.counts, err
}

// ErrNotKept says that documents without a final outcome could not be kept.
var ErrNotKept = errors.New("not kept in the dead letters")

// keep counts what has no final outcome, and keeps it when it is to, with b.mu held.
func (b *Bulk) keep(cause error, calls ...*call) error {
	var letters []Letter
	for _, c := range calls {
		for i := range c.items {
			if it := &c.items[i]; !it.final {
				letters = append(letters, it.letter(Error{Type: "unsent", Reason: cause.Error()}))
			}
		}
	}
	b.counts.Unsent += int64(len(letters))
	if b.options.DeadLetters == nil || !b.options.KeepUnsent || len(letters) == 0 {
		return nil
	}
	if err := b.options.DeadLetters(letters); err != nil {
		return fmt.Errorf("%w: %w", ErrNotKept, err)
	}
	return nil
}

func (it *item) letter(e Error) Letter {
	pair := it.pair
	if it.came != nil {
		pair = it.came
	}
	action, document := linesOf(pair)
	return Letter{Time: time.Now(), Action: action, Document: document, Error: e, Attempts: it.attempts}
}

// stop ends the Bulk with an error.
func (b *Bulk) stop(err error) {
	b.end(err)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.changed.Broadcast()
}

// dispatch starts batches, with b.mu held, as far as it is their time.
func (b *Bulk) dispatch() {
	for len(b.pending) > 0 && b.running < b.pace.limit && (b.running == 0 || b.closing || b.full()) && b.ctx.Err() == nil {
		batch := b.take()
		b.running++
		go func() {
			if err := b.deliver(batch); err != nil {
				b.stop(err)
			}
			b.mu.Lock()
			defer b.mu.Unlock()
			b.running--
			b.dispatch()
			b.changed.Broadcast()
		}()
	}
}

func (b *Bulk) full() bool { return len(b.pending) >= b.options.MaxItems || b.bytes >= b.pace.maxBytes }

// UnfitType is the type of the error of documents that are not sent; see [Bulk.Withhold].
const UnfitType = "unfit_index"

// Withhold makes dead letters, for a reason, of the documents for an index, which are not sent any more. An empty reason ends
// that.
func (b *Bulk) Withhold(index, reason string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if reason == "" {
		delete(b.unfit, index)
		return
	}
	b.unfit[index] = Error{Type: UnfitType, Reason: cut(reason)}
}

// fit refuses the items of a batch that are withheld, and returns the others.
func (b *Bulk) fit(batch []*item) (fit []*item, err error) {
	b.mu.Lock()
	unfit := maps.Clone(b.unfit)
	b.mu.Unlock()
	if len(unfit) == 0 {
		return batch, nil
	}
	var refused []*item
	var errs []Error
	for _, it := range batch {
		if e, no := unfit[it.index()]; no {
			refused, errs = append(refused, it), append(errs, e)
		} else {
			fit = append(fit, it)
		}
	}
	return fit, b.refuse(refused, errs)
}

// take takes the next batch off what is pending: at least one item.
func (b *Bulk) take() []*item {
	n, size := 0, 0
	for n < len(b.pending) && n < b.options.MaxItems && (n == 0 || size+len(b.pending[n].pair) <= b.pace.maxBytes) {
		size += len(b.pending[n].pair)
		n++
	}
	batch := b.pending[:n:n]
	b.pending = b.pending[n:]
	b.bytes -= size
	return batch
}

// deliver follows a batch until every item is final. Its error ends the Bulk.
func (b *Bulk) deliver(batch []*item) error {
	wait := waiting{bulk: b}
	batch, err := b.fit(batch)
	if err != nil {
		return err
	}
	for len(batch) > 0 {
		sent := batch
		if wait.probing {
			sent = batch[:1] // whether the others are to be sent
		}
		results, err := b.post(sent)
		what := verdictOf(err)
		switch {
		case what == divide && len(sent) > 1: // one document must not keep the others out
			b.learn(err, sent)
			half := len(sent) / 2
			if err := b.deliver(sent[:half]); err != nil {
				return err
			}
			batch = batch[half:]
			continue
		case what == divide:
			err = b.refuse(sent, []Error{refusalOf(err)})
			batch = batch[1:]
		case what == stop:
			return err
		case what == again:
			err = wait.pause(err, false)
		default:
			var left []*item
			var trouble error
			left, trouble, err = b.settle(sent, results)
			batch = append(left, batch[len(sent):]...)
			if err == nil {
				err = wait.pause(trouble, len(left) < len(sent))
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// bodies are those of requests, which are used again: there are as many as requests at once, each as large as a request was.
var bodies = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// bulkAnswer leaves out of answers what is not read of them, which is most: an item says in 50 bytes what takes 200 else.
var bulkAnswer = url.Values{"filter_path": {"errors,items.*._index,items.*.status,items.*.error,items.*.failure_store,error"}}

// post sends items and returns what became of each; nil when all are indexed.
func (b *Bulk) post(items []*item) ([]result, error) {
	body := bodies.Get().(*bytes.Buffer)
	defer bodies.Put(body)
	body.Reset()
	for _, it := range items {
		body.Write(it.pair)
	}
	b.mu.Lock()
	b.counts.Requests++
	for _, it := range items {
		if it.attempts++; it.attempts > 1 {
			b.counts.Retried++
		}
	}
	b.mu.Unlock()
	answer, err := b.to.Do(b.ctx, http.MethodPost, "/_bulk", bulkAnswer, body.Bytes())
	if err != nil {
		return nil, err
	}
	if err := answer.Err(); err != nil {
		return nil, &rejection{err.(*Error), answer.RetryAfter()}
	}
	if allIndexed(answer.Body, len(items)) {
		b.track(items[0].index(), answer.Body)
		return nil, nil
	}
	return parseResults(answer.Body, len(items))
}

// track notes to which index the first document of an answer went: after a rollover, to another than before.
func (b *Bulk) track(name string, body []byte) {
	if b.options.Moved == nil {
		return
	}
	_, rest, _ := bytes.Cut(body, []byte(`{"_index":"`))
	to, _, _ := bytes.Cut(rest, []byte(`"`))
	if len(to) == 0 || string(to) == name {
		return
	}
	b.mu.Lock()
	before := b.goes[name]
	if len(b.goes) >= maxNames {
		clear(b.goes)
	}
	b.goes[name] = string(to)
	b.mu.Unlock()
	if before != "" && before != string(to) {
		b.options.Moved(name)
	}
}

// maxNames bounds how many names of indices are remembered.
const maxNames = 1000

// learn makes later requests smaller than one that was too large.
func (b *Bulk) learn(err error, sent []*item) {
	var answer *Error
	if !errors.As(err, &answer) || answer.Status != http.StatusRequestEntityTooLarge {
		return
	}
	size := 0
	for _, it := range sent {
		size += len(it.pair)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pace.maxBytes = min(b.pace.maxBytes, max(size/2, 1))
}

// settle notes the outcomes of items, and returns those to be sent again, and why. See [Bulk.post] for results.
func (b *Bulk) settle(items []*item, results []result) (left []*item, trouble, err error) {
	if results == nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.counts.Indexed += int64(len(items))
		b.finish(items)
		return nil, nil, nil
	}
	var gone, refused []*item
	var errs []Error
	var indexed, duplicates int64
	for i, it := range items {
		switch r := &results[i]; r.fate() {
		case indexedFate:
			indexed++
			gone = append(gone, it)
		case duplicateFate:
			duplicates++
			gone = append(gone, it)
		case refusedFate:
			if b.remap(it, r) {
				left = append(left, it)
				continue
			}
			refused = append(refused, it)
			errs = append(errs, r.Error)
		case floodedFate:
			left, trouble = append(left, it), &r.Error
		default:
			left = append(left, it)
			if trouble == nil {
				trouble = &r.Error
			}
		}
	}
	b.mu.Lock()
	b.counts.Indexed += indexed
	b.counts.Duplicates += duplicates
	b.finish(gone)
	b.mu.Unlock()
	return left, trouble, b.refuse(refused, errs)
}

// remap reports whether a document that the mapping refuses is to be sent again.
func (b *Bulk) remap(it *item, r *result) bool {
	if b.options.Remap == nil || it.remapped == 2 || r.Status != http.StatusBadRequest {
		return false
	}
	it.remapped++
	action, document := linesOf(it.pair)
	as, again := b.options.Remap(it.index(), r.Error, document, it.remapped)
	if again && as != nil {
		if it.came == nil {
			it.came = it.pair
		}
		it.pair = slices.Concat(action, lineFeed, as, lineFeed)
	}
	return again
}

// refuse hands items to the dead letters.
func (b *Bulk) refuse(items []*item, errs []Error) error {
	if len(items) == 0 {
		return nil
	}
	letters := make([]Letter, len(items))
	for i, it := range items {
		letters[i] = it.letter(errs[i])
		b.tellRefused(&letters[i])
	}
	if err := b.misconfigured(errs); err != nil {
		return err
	}
	if b.options.DeadLetters == nil {
		return fmt.Errorf("a document was refused, and there is no dead-letter file to keep it: %w", &errs[0])
	}
	if err := b.options.DeadLetters(letters); err != nil {
		return fmt.Errorf("dead letters: %w", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.counts.DeadLetters += int64(len(items))
	b.finish(items)
	return nil
}

// misconfigured tells refusals that concern the one who asks from those of single documents: nothing was ever taken.
func (b *Bulk) misconfigured(errs []Error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	taken := b.counts.Indexed + b.counts.Duplicates
	if taken > 0 || b.counts.DeadLetters+int64(len(errs)) < manyRefused {
		return nil
	}
	if slices.ContainsFunc(errs, func(e Error) bool { return e.Type != "security_exception" && e.Type != UnfitType }) {
		return nil
	}
	return fmt.Errorf("no document was taken yet, and all are refused: %w", &errs[0])
}

func (b *Bulk) tellRefused(l *Letter) {
	if b.options.Refused == nil {
		return
	}
	_, to, _ := parseAction(l.Action) // an unreadable one is of the index ""
	b.mu.Lock()
	key := to.Index + "\x00" + l.Error.Type
	first := !b.refused[key] && len(b.refused) < maxNames
	if first {
		b.refused[key] = true
	}
	b.mu.Unlock()
	if first {
		b.options.Refused(to.Index, l.Error)
	}
}

// finish marks items as final, with b.mu held, and passes on what that completes, in order.
func (b *Bulk) finish(items []*item) {
	for _, it := range items {
		it.final = true
		it.call.open--
	}
	for len(b.calls) > 0 && b.calls[0].open == 0 {
		c := b.calls[0]
		b.calls[0] = nil
		b.calls = b.calls[1:]
		b.counts.Held -= int64(c.size)
		for _, done := range c.after {
			done()
		}
	}
	b.changed.Broadcast()
}
