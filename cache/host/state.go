// Package host is what the processes of one host share: the answers that were given, who is asking about what, how much
// of each source's budget is spent, and what was asked. It is one SQLite file in write-ahead mode in a folder of its
// own, so that any tool can read it and a process may be killed at any time.
//
// Nothing here is in an event's way. Answers are written behind, by one goroutine and in batches; a token is spent, and
// an indicator leased, in one transaction that is on disk before the request is sent. When the file cannot be written
// (the disk is full, the folder read-only), answers stay in memory, and nothing is asked: what cannot be counted must
// not be spent. It is tried again, and goes on when it can.
package host

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// FileName is the file's name in its folder.
	FileName = "state.db"

	// DefaultMaxBytes bounds the answers in the file.
	DefaultMaxBytes = 1 << 30

	// DefaultMaxAsked is how many questions the log holds.
	DefaultMaxAsked = 10_000

	// DefaultLease is how long an indicator is left to a process that asks about it and does not come back.
	DefaultLease = time.Minute
)

// Options say how a [State] is kept. The zero Options are the defaults.
type Options struct {
	MaxBytes int64         // of the answers; the least recently fetched go first
	MaxAsked int           // questions in the log; the oldest go first
	Lease    time.Duration // must be longer than a request takes at most

	// OnTrouble, if not nil, is told once when the file cannot be used any more, with nil once it can again, and
	// of a file that was set aside. It must not call the State.
	OnTrouble func(error)
}

// State is the open file. It is safe for concurrent use, and a [cache.Store].
type State struct {
	dir   string
	opt   Options
	owner string // of leases: this process, since when it opened the file
	clock clock

	mu   sync.RWMutex // held for reading while file is used
	file *file        // nil while there is none that can be used

	troubled atomic.Bool

	queue   queue
	closing chan struct{}
	closed  sync.WaitGroup
}

// Open opens the file in dir, and creates both (0700 and 0600) when they are missing. A file that is damaged, or not
// one of ours, is set aside under another name and a new one begun. Errors: [ErrNewer], and whatever keeps a file from
// being written in dir. A State must be closed, or the last answers are lost.
func Open(dir string, opt Options) (*State, error) { return open(dir, opt, steady) }

func open(dir string, opt Options, clock clock) (*State, error) {
	if opt.MaxBytes <= 0 {
		opt.MaxBytes = DefaultMaxBytes
	}
	if opt.MaxAsked <= 0 {
		opt.MaxAsked = DefaultMaxAsked
	}
	if opt.Lease <= 0 {
		opt.Lease = DefaultLease
	}
	if opt.OnTrouble == nil {
		opt.OnTrouble = func(error) {}
	}
	f, err := openFile(dir, nil, false, opt.OnTrouble)
	if err != nil {
		return nil, err
	}
	s := &State{
		dir: dir, opt: opt, file: f, clock: clock,
		owner:   fmt.Sprintf("%d-%.8s", os.Getpid(), rand.Text()),
		queue:   queue{wake: make(chan struct{}, 1)},
		closing: make(chan struct{}),
	}
	s.closed.Go(s.writeBehind)
	return s, nil
}

// Close writes what waits and closes the file.
func (s *State) Close() error {
	close(s.closing)
	s.closed.Wait()
	err := s.Flush()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file != nil {
		err = errors.Join(err, s.file.close())
	}
	s.file = nil
	return err
}

var errNoFile = errors.New("closed, or not to be opened")

// with calls do with the file. A file that was replaced or removed under its name is opened anew first, so that all
// processes share one; one that turns out to be damaged is set aside, and do is called again with the new one.
func (s *State) with(do func(*file) error) error {
	f := s.current()
	if f == nil || f.replaced() {
		if err := s.reopen(f, false); err != nil {
			return s.trouble(err)
		}
	}
	f, err := s.try(do)
	if isDamage(err) {
		if err = s.reopen(f, true); err == nil {
			_, err = s.try(do)
		}
	}
	return s.trouble(err)
}

func (s *State) current() *file {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.file
}

// try calls do with the file, which it returns, and which stays open meanwhile.
func (s *State) try(do func(*file) error) (*file, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.file == nil {
		return nil, errNoFile
	}
	return s.file, do(s.file)
}

// write is with for what changes the file. When it works, and nothing waits that was too much for a full disk, the
// trouble is over.
func (s *State) write(do func(*file) error) error {
	err := s.with(do)
	if err == nil && s.queue.empty() {
		s.recovered()
	}
	return err
}

func (s *State) recovered() {
	if s.troubled.CompareAndSwap(true, false) {
		s.opt.OnTrouble(nil)
	}
}

// trouble returns err, and tells of it unless it is known that there is trouble.
func (s *State) trouble(err error) error {
	if err == nil || isCanceled(err) {
		return err
	}
	err = fmt.Errorf("%s: %w", s.path(), err)
	if s.troubled.CompareAndSwap(false, true) {
		s.opt.OnTrouble(err)
	}
	return err
}

// reopen replaces the file old, which is damaged or no longer the one of that name, unless another goroutine has.
func (s *State) reopen(old *file, damaged bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file != old || s.isClosed() {
		return nil
	}
	var aside os.FileInfo
	if old != nil {
		_ = old.close() // it is given up
		if damaged {
			aside = old.info
		}
	}
	var err error
	s.file, err = openFile(s.dir, aside, true, s.opt.OnTrouble)
	return err
}

func (s *State) isClosed() bool {
	select {
	case <-s.closing:
		return true
	default:
		return false
	}
}
