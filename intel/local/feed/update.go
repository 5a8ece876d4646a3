package feed

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"iocpipe/intel"
)

// A Reader reads one file of a feed, of any size, and calls take for each entry and refuse for each record that is
// refused. It returns the name of the format, which is told by content when the given one is empty. An error, take's
// too, ends it: the file is broken.
type Reader func(r io.Reader, f *Feed, format string, take func(intel.Entry) error, refuse func(Refusal)) (string, error)

// A Refusal is a record that is not taken.
type Refusal struct {
	Where, Why string
	Fault      bool // the record is bad, not merely of no use, as the name of a file is
}

// Formats is how files are found, opened and read.
type Formats struct {
	Files func(root string) iter.Seq2[string, error] // root, or the files below it in order
	Open  func(path string) (io.ReadCloser, error)   // without compression
	Read  Reader
}

// A Store takes what feeds say in one step: all of it or, with an error, nothing.
type Store func(ctx context.Context, contents []Content) error

// A Content is what one feed says, to replace what it said before.
type Content struct {
	Feed    Feed // with the counts of this content
	Format  string
	Samples []string                                 // of what is refused, the first
	Read    func(take func(intel.Entry) error) error // may be called again
}

// maxSamples is how many refused records are told of.
const maxSamples = 10

// Options says how feeds are updated. Formats, Store and Holds are required; what else is zero has a default.
type Options struct {
	Names       []string // only these, be they due or not
	All         bool     // all, be they due or not
	AcceptSmall bool     // content that is suspiciously small is good

	MaxBytes       int64         // of one feed on the wire; 1 GiB
	MaxContent     int64         // of one feed when decompressed; 8 GiB
	Parallel       int           // downloads at a time; 4
	ConnectTimeout time.Duration // 15 s
	HeaderTimeout  time.Duration // until an answer begins; 60 s
	StallTimeout   time.Duration // in which next to nothing comes; 30 s
	Timeout        time.Duration // of one feed; 30 min
	Proxy          string        // http(s) or socks5 URL; "" takes that of the environment
	CAFile         string        // PEM certificates to trust besides those of the system
	UserAgent      string

	Formats Formats
	Store   Store
	Holds   func(name string) bool // whether the store has what a feed said; without, it is fetched anew

	Now        func() time.Time
	Getenv     func(string) string
	OnWait     func()                               // another update runs, and is waited for
	OnProgress func(feed string, done, total int64) // bytes; total is -1 when it is not known; from several goroutines
}

func (o Options) withDefaults() Options {
	o.MaxBytes = cmp.Or(o.MaxBytes, 1<<30)
	o.MaxContent = cmp.Or(o.MaxContent, 8<<30)
	o.Parallel = cmp.Or(o.Parallel, 4)
	o.ConnectTimeout = cmp.Or(o.ConnectTimeout, 15*time.Second)
	o.HeaderTimeout = cmp.Or(o.HeaderTimeout, time.Minute)
	o.StallTimeout = cmp.Or(o.StallTimeout, 30*time.Second)
	o.Timeout = cmp.Or(o.Timeout, 30*time.Minute)
	o.UserAgent = cmp.Or(o.UserAgent, "iocpipe")
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Getenv == nil {
		o.Getenv = os.Getenv
	}
	return o
}

// An Outcome is what an update did with a feed.
type Outcome string

// The outcomes of an update.
const (
	Updated   Outcome = "updated"   // the store holds new content
	Unchanged Outcome = "unchanged" // it is what the store holds
	NotDue    Outcome = "not due"   // not asked: see Result.Next
	Failed    Outcome = "failed"    // the store holds what it held
)

// A Result is what became of one feed.
type Result struct {
	Feed    Feed // as it is now in the registry
	Outcome Outcome
	Err     error     // of Failed
	Next    time.Time // when it may be asked next
}

// Update fetches the feeds of the registry at path that are due, and gives the store what is new in all of them in one
// step. A feed that fails stays as it was and does not hinder others: its result has the error. Another update is
// waited for. The error is of what concerns all.
func Update(ctx context.Context, path string, opt Options) ([]Result, error) {
	opt = opt.withDefaults()
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, err
	}
	unlock, err := lock(ctx, filepath.Join(dir, updateLock), opt.OnWait)
	if err != nil {
		return nil, err
	}
	defer unlock()
	sweep(dir)
	copies, err := os.MkdirTemp(dir, updateDir+"*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(copies)
	fetcher, err := newFetcher(opt, copies)
	if err != nil {
		return nil, err
	}
	defer fetcher.transport.CloseIdleConnections()
	u := &update{fetcher: fetcher, path: path}
	if err := u.choose(); err != nil {
		return nil, err
	}
	u.fetchAll(ctx)
	if err := context.Cause(ctx); err != nil {
		return nil, errors.Join(err, u.noteAsked(context.WithoutCancel(ctx)))
	}
	return u.finish(ctx)
}

const (
	updateLock = "feeds.update.lock"
	updateDir  = ".feeds-update-"
)

// sweep removes what updates left that were killed; the lock says that none is running.
func sweep(dir string) {
	left, _ := filepath.Glob(filepath.Join(dir, updateDir+"*"))
	for _, path := range left {
		_ = os.RemoveAll(path) // in the worst case it stays until the next one
	}
}

// An update is one run over the registry.
type update struct {
	*fetcher
	path  string
	turns []*turn // of all feeds, in the registry's order, or of those that were named
}

// A turn is what one update does with one feed.
type turn struct {
	feed    Feed // as it was read
	outcome Outcome
	err     error
	content *content
	tried   time.Time
}

// choose reads the registry and decides whose turn it is.
func (u *update) choose() error {
	r, err := Load(u.path)
	if err != nil {
		return err
	}
	wanted := make(map[string]bool)
	for _, name := range u.Names {
		if r.Get(name) == nil {
			return r.unknown(name)
		}
		wanted[name] = true
	}
	now := u.Now()
	for _, f := range r.Feeds {
		if len(wanted) > 0 && !wanted[f.Name] {
			continue
		}
		t := &turn{feed: f, outcome: NotDue}
		clockSetBack := f.Tried.After(now.Add(time.Minute))
		if clockSetBack || !now.Before(f.next(u.All || wanted[f.Name])) {
			t.outcome = ""
		}
		u.turns = append(u.turns, t)
	}
	return nil
}

// next returns when f may be asked next: when it is due or, when it is forced, as soon as its publisher permits.
func (f *Feed) next(forced bool) time.Time {
	wait := time.Duration(f.Every)
	switch {
	case f.Tried.IsZero():
		return f.NotBefore
	case forced:
		wait = 0
	case f.Failures > 0: // sooner than usual, and then less and less so
		wait = min(wait, firstRetry<<min(f.Failures-1, 16))
	default:
		wait -= wait / 10 // a timer of the same interval is not to miss it by a second
	}
	if f.Least > 0 { // Tried is in whole seconds, and may be almost one too early
		wait = max(wait, time.Duration(f.Least)+time.Second)
	}
	next := f.Tried.Add(wait)
	return latest(next, f.NotBefore)
}

// Due returns when f is due, as far as nobody forces it.
func (f *Feed) Due() time.Time { return f.next(false) }

// firstRetry is the wait after a first failure. It doubles with each further one, up to the feed's interval.
const firstRetry = 5 * time.Minute

// fetchAll fetches and judges what is due.
func (u *update) fetchAll(ctx context.Context) {
	var g errgroup.Group
	g.SetLimit(u.Parallel)
	for _, t := range u.turns {
		if t.outcome == NotDue {
			continue
		}
		g.Go(func() error {
			u.take(ctx, t)
			return nil
		})
	}
	_ = g.Wait() // each turn has its own error
}

func (u *update) take(ctx context.Context, t *turn) {
	t.tried = u.Now().UTC().Truncate(time.Second)
	t.content, t.err = u.fetch(ctx, &t.feed, u.Holds(t.feed.Name))
	if t.err == nil && !t.content.unchanged {
		t.err = u.judge(&t.feed, t.content)
	}
	switch {
	case t.err != nil:
		t.outcome = Failed
	case t.content.unchanged:
		t.outcome = Unchanged
	default:
		t.outcome = Updated
	}
}

// judge reads c to the end and returns why it is no good.
func (u *update) judge(f *Feed, c *content) error {
	err := u.readAll(f, c, func(intel.Entry) error { c.taken++; return nil }, c.refuse)
	small := c.taken*2 < f.Entries
	switch {
	case err != nil:
		return err
	case c.faults > c.taken:
		return fmt.Errorf("more than half of it is refused, %d of %d; %s", c.faults, c.faults+c.taken, c.samples[0])
	case c.taken == 0 && !f.MayBeEmpty && !u.AcceptSmall:
		return errors.New("there is no entry in it")
	case small && !u.AcceptSmall && !(f.MayBeEmpty && f.Entries < few):
		return fmt.Errorf("suspiciously small: %d entries, and there were %d (--accept-small takes it)", c.taken, f.Entries)
	}
	return nil
}

// refuse counts a record that is refused.
func (c *content) refuse(r Refusal) {
	c.refused++
	if r.Fault {
		c.faults++
	}
	if len(c.samples) < maxSamples {
		c.samples = append(c.samples, r.Where+": "+r.Why)
	}
}

// few is the number of entries below which a feed that may be empty can lose them all.
const few = 100

// readAll reads the parts of c. In a folder a file that is broken counts as one refused record.
func (u *update) readAll(f *Feed, c *content, take func(intel.Entry) error, refuse func(Refusal)) error {
	var full error // of take, which ends it all
	taking := func(e intel.Entry) error {
		full = take(e)
		return full
	}
	for _, p := range c.parts {
		inPart := refuse
		if p.name != "" {
			inPart = func(r Refusal) { refuse(Refusal{p.name + ": " + r.Where, r.Why, r.Fault}) }
		}
		err := u.readPart(f, c, p, taking, inPart)
		switch {
		case err == nil:
		case full != nil || p.name == "":
			return err
		default:
			refuse(Refusal{p.name, err.Error(), true})
		}
	}
	return nil
}

func (u *update) readPart(f *Feed, c *content, p part, take func(intel.Entry) error, refuse func(Refusal)) error {
	opened, err := u.Formats.Open(p.path)
	if err != nil {
		return withoutPath(err, p.path)
	}
	defer opened.Close()
	r := bufio.NewReaderSize(&atMost{opened, u.MaxContent}, 64<<10)
	begin, err := r.Peek(1 << 10)
	switch {
	case err != nil && err != io.EOF:
		return err
	case len(begin) == 0:
		return errors.New("it is empty")
	case isHTML(begin):
		return errors.New("it is a page of HTML, not a list")
	}
	c.kind, err = u.Formats.Read(r, f, cmp.Or(p.format, f.Format), take, refuse)
	return err
}

// withoutPath returns err without the path of a copy, which means nothing to anybody.
func withoutPath(err error, path string) error {
	return &fetchError{strings.ReplaceAll(err.Error(), path+": ", ""), err}
}

// isHTML reports whether a file that begins so is a page for people, as gateways and error pages are under status 200.
func isHTML(begin []byte) bool {
	begin = bytes.TrimLeft(bytes.TrimPrefix(begin, []byte("\ufeff")), " \t\r\n")
	for bytes.HasPrefix(begin, []byte("<!--")) {
		_, after, _ := bytes.Cut(begin, []byte("-->"))
		begin = bytes.TrimLeft(after, " \t\r\n")
	}
	for _, tag := range []string{"<!doctype html", "<html", "<head", "<body", "<title", "<script", "<meta"} {
		if len(begin) >= len(tag) && bytes.EqualFold(begin[:len(tag)], []byte(tag)) {
			return true
		}
	}
	return false
}

// noteAsked takes down, when the update is ended from outside, when the feeds that were asked may be asked again. What
// came of it is neither good nor a failure.
func (u *update) noteAsked(ctx context.Context) error {
	return Change(ctx, u.path, func(r *Registry) error {
		for _, t := range u.turns {
			if f := r.Get(t.feed.Name); f != nil && t.content != nil && f.Least > 0 {
				f.NotBefore = latest(f.NotBefore, t.content.retryAfter, t.tried.Add(time.Duration(f.Least)+time.Second))
			}
		}
		return nil
	})
}

func latest(times ...time.Time) time.Time { return slices.MaxFunc(times, time.Time.Compare) }

// finish gives the store what is new and writes the registry, while nobody else changes it: a feed that was removed
// meanwhile does not come back.
func (u *update) finish(ctx context.Context) (results []Result, err error) {
	err = Change(ctx, u.path, func(r *Registry) error {
		var contents []Content
		for _, t := range u.turns {
			if f := r.Get(t.feed.Name); f != nil && f.From == t.feed.From && t.outcome == Updated {
				contents = append(contents, u.contentOf(t))
			}
		}
		if len(contents) > 0 {
			if err := u.Store(ctx, contents); err != nil {
				u.failUpdated(fmt.Errorf("store: %w", err))
			}
		}
		results = u.settle(r)
		r.sweepEvents(u.path)
		return nil
	})
	return results, err
}

func (u *update) contentOf(t *turn) Content {
	f := t.feed
	t.settle(&f)
	return Content{Feed: f, Format: t.content.kind, Samples: t.content.samples, Read: func(take func(intel.Entry) error) error {
		return u.readAll(&f, t.content, take, func(Refusal) {})
	}}
}

// failUpdated says that nothing new has reached the store.
func (u *update) failUpdated(err error) {
	for _, t := range u.turns {
		if t.outcome == Updated {
			t.outcome, t.err = Failed, err
		}
	}
}

// settle takes down in the registry what became of the feeds.
func (u *update) settle(r *Registry) (results []Result) {
	for _, t := range u.turns {
		f := r.Get(t.feed.Name)
		if f == nil || f.From != t.feed.From {
			continue
		}
		t.settle(f)
		forced := t.outcome == NotDue && (u.All || len(u.Names) > 0)
		results = append(results, Result{Feed: *f, Outcome: t.outcome, Err: t.err, Next: f.next(forced)})
	}
	return results
}

// settle takes down in f what became of it.
func (t *turn) settle(f *Feed) {
	if t.outcome == NotDue {
		return
	}
	c := t.content
	f.Tried, f.NotBefore = t.tried, c.retryAfter
	if t.outcome == Failed {
		f.Failures, f.Error = f.Failures+1, t.err.Error()
		return
	}
	f.Good, f.Failures, f.Error = t.tried, 0, ""
	if t.outcome == Updated {
		f.Entries, f.Refused, f.Bytes = c.taken, c.refused, c.bytes
	}
	if c.sha256 != "" { // else the server gave nothing, not even validators
		f.SHA256, f.ETag, f.LastModified, f.Of = c.sha256, c.etag, c.modified, c.of
	}
}
