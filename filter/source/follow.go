package source

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// pollEvery is how often folders are looked at. Where the system tells of changes they are noticed at once, but
	// not all file systems do.
	pollEvery = 500 * time.Millisecond

	// lingerFor is how long a file that has lost its name is still read: its writer may not have noticed yet.
	lingerFor = 30 * time.Second
)

// FollowOptions say how files are followed.
type FollowOptions struct {
	// Registry keeps how far each file was read.
	Registry *Registry

	// Old says that before a file of which the registry knows nothing, those are read whose names go on behind its own
	// (access.log.2.gz, access.log-20260301), the oldest first.
	Old bool

	// Written, if not nil, returns the file that what is read here ends up in, if that is a file: it is not followed.
	Written func() os.FileInfo

	// Told must be set. It is told what a person wants to know: that a file was truncated, where reading goes on.
	Told func(format string, args ...any)
}

// Follow reads files and goes on as they grow, until [Follow.Stop]: also when one is renamed and another takes its
// name, when one is truncated, and when one appears later. What it gives are whole lines: each input is a piece of a
// file, up to the last line feed that was there, and says where it stands ([Follow.At]). Of a file that has lost its
// name the unfinished last line comes, too, in the end. It is for one goroutine at a time, but for Stop.
type Follow struct {
	patterns []string
	opt      FollowOptions
	wake     *wake
	stopped  chan struct{}
	stop     func()

	tails   []*tail // in the order in which they are to be read, as far as they share a name
	turn    int     // whose turn it is
	current *tail
	begun   bool // the folders were looked at
	skipped map[string]bool
}

// NewFollow follows the files that patterns match (see [filepath.Match]), now or later.
func NewFollow(patterns []string, opt FollowOptions) (*Follow, error) {
	for _, pattern := range patterns {
		if pattern == Stdin {
			return nil, errors.New("standard input cannot be followed; it is read to its end as it is")
		}
		if _, err := filepath.Match(pattern, ""); err != nil {
			return nil, fmt.Errorf("%s: %w", pattern, err)
		}
	}
	f := &Follow{patterns: patterns, opt: opt, stopped: make(chan struct{}), skipped: make(map[string]bool)}
	f.stop = sync.OnceFunc(func() { close(f.stopped) })
	f.wake = newWake(f.folders())
	return f, nil
}

// Stop ends the following, from any goroutine: what is there is read, then Next returns io.EOF.
func (f *Follow) Stop() { f.stop() }

// folders returns the folders in which files may appear.
func (f *Follow) folders() (dirs []string) {
	for _, pattern := range f.patterns {
		matches, _ := filepath.Glob(filepath.Dir(pattern)) // the pattern is a good one
		dirs = append(dirs, matches...)
	}
	slices.Sort(dirs)
	return slices.Compact(dirs)
}

// Next goes on to the next piece of a file, and waits for one. [io.EOF] says that following was stopped and nothing is
// left. Another error names the file; it is tried again later.
func (f *Follow) Next() (name string, err error) {
	if f.current != nil {
		f.current.finish()
		f.current = nil
	}
	for {
		if f.wake.due() {
			f.scan()
		}
		last := f.isStopped() // before the look, which then sees all that came before
		if t, err := f.ready(); t != nil {
			f.current = t
			return t.path, nil
		} else if err != nil {
			return "", err
		}
		if last {
			f.close()
			return "", io.EOF
		}
		f.wake.wait(f.stopped)
	}
}

func (f *Follow) isStopped() bool {
	select {
	case <-f.stopped:
		return true
	default:
		return false
	}
}

// At says where the piece that Next went on to stands.
func (f *Follow) At() (id string, offset, line int64) {
	return f.current.ID, f.current.at, f.current.line
}

// Read reads the piece that Next went on to.
func (f *Follow) Read(p []byte) (int, error) {
	n, err := f.current.content.Read(p)
	f.current.given += int64(n)
	if err != nil && err != io.EOF {
		err = fmt.Errorf("%s: %w", f.current.path, err)
	}
	return n, err
}

// ready returns a file that has something to give: each has its turn, but never before one that had its name before.
// An error, of which the file is named, is returned once.
func (f *Follow) ready() (*tail, error) {
	for range f.tails {
		f.turn = (f.turn + 1) % len(f.tails)
		for _, t := range f.tails[:f.turn+1] {
			if t.name != f.tails[f.turn].name {
				continue
			}
			ok, err := t.look(f.opt.Registry)
			switch {
			case errors.Is(err, errTruncated):
				if err = f.beginAnew(t); err == nil {
					return f.ready() // the files are others now
				}
			case ok:
				return t, nil
			}
			if err != nil && !t.told {
				t.told = true
				return nil, fmt.Errorf("%s: %w", t.path, err)
			}
		}
	}
	f.tails = slices.DeleteFunc(f.tails, func(t *tail) bool {
		gone := t.over && f.opt.Registry.forget(t.Kept, t.at)
		if gone {
			t.close()
		}
		return gone
	})
	return nil, nil
}

// beginAnew goes to the beginning of a file that was truncated. What it held and was not read may be in a copy.
func (f *Follow) beginAnew(t *tail) error {
	f.opt.Told("%s: truncated; reading begins anew", t.path)
	head, err := t.head(headBytes)
	if err != nil {
		return err
	}
	k, before, err := f.opt.Registry.begin(t.path, t.info, head)
	if err != nil {
		return err
	}
	f.resume(before, t.at, t.line)
	t.Kept, t.at, t.line, t.scanned = k, 0, 1, 0
	return nil
}

func (f *Follow) close() {
	for _, t := range f.tails {
		t.close()
	}
	f.tails = nil
	f.wake.close()
}

// scan looks which files there are, and which have lost their names.
func (f *Follow) scan() {
	for _, t := range f.tails {
		t.named = false
	}
	for _, pattern := range f.patterns {
		paths, _ := filepath.Glob(pattern) // the pattern is a good one
		for _, path := range paths {
			f.found(path)
		}
	}
	if !f.begun {
		f.begun = true
		f.resumeRenamed()
	}
	for _, t := range f.tails {
		t.lostName(time.Now())
	}
}

// found takes in the file at a path that matches.
func (f *Follow) found(path string) {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		return // it may be one day
	}
	if f.isOutput(info) {
		f.skip(path, "%s is the output, too; it is not followed", path)
		return
	}
	for _, t := range f.tails {
		if os.SameFile(t.info, info) {
			t.path, t.named = path, true
			if errors.Is(t.check(info, f.opt.Registry), errTruncated) {
				if err := f.beginAnew(t); err != nil {
					f.skip(path, "%s: %v", path, err)
				}
			}
			return
		}
	}
	t, err := openTail(path)
	if err != nil {
		f.skip(path, "%v", err)
		return
	}
	if why := f.standsStill(t); why != "" {
		t.close()
		f.skip(path, "%s is %s; it is not followed", path, why)
		return
	}
	if err := f.begin(t); err != nil {
		t.close()
		f.skip(path, "%s: %v", path, err)
	}
}

func (f *Follow) isOutput(info os.FileInfo) bool {
	if f.opt.Written == nil {
		return false
	}
	out := f.opt.Written()
	return out != nil && os.SameFile(info, out)
}

// standsStill says what a file is that will not grow: compressed, or a copy of one that is followed and about to be
// truncated. It is empty for others.
func (f *Follow) standsStill(t *tail) string {
	if t.packed {
		return "compressed"
	}
	for _, other := range f.tails {
		if isPredecessor(filepath.Base(t.path), filepath.Base(other.name)) && other.Kept.isHead(t.first) {
			return "a copy of " + other.path
		}
	}
	return ""
}

// begin takes in a file that matches, where the registry says, and before it what has to be read first.
func (f *Follow) begin(t *tail) error {
	known := f.opt.Registry.knows(t.path) || slices.ContainsFunc(f.tails, func(other *tail) bool { return other.name == t.path })
	k, isNew, before, err := f.opt.Registry.find(t)
	if err != nil {
		return err
	}
	switch {
	case isNew && known:
		f.readOld(t.path, f.missed(t.path))
	case isNew && f.opt.Old:
		f.readOld(t.path, predecessors(t.path))
	}
	if before != nil { // truncated since the last run
		f.resume(before, before.Offset, before.Line)
	}
	if err := t.keep(k, k.Offset, k.Line); err != nil {
		return err
	}
	if t.at > 0 {
		f.opt.Told("%s: goes on at byte %d", t.path, t.at)
	}
	t.named = true
	f.tails = append(f.tails, t)
	return nil
}

// skip tells once why a file is not read.
func (f *Follow) skip(path, format string, args ...any) {
	if !f.skipped[path] {
		f.skipped[path] = true
		f.opt.Told(format, args...)
	}
}

// missed returns the files that had the name path, which is followed, while nobody looked: after a second rotation during
// a stop or an outage of the output, that is those between the last file that is known and the one that has the name now.
// It is empty when no known file is left to count from.
func (f *Follow) missed(path string) []string {
	rotated := slices.DeleteFunc(predecessors(path), func(old string) bool {
		next := old[len(path)+1]
		return next < '0' || next > '9' // access.log.bak is nothing that a rotation leaves
	})
	for i, old := range slices.Backward(rotated) {
		if f.isKnown(old) {
			return rotated[i+1:]
		}
	}
	return nil
}

// isKnown reports whether the file at a path is followed, or was by an earlier run, under whatever name.
func (f *Follow) isKnown(path string) bool {
	t, err := openTail(path)
	if err != nil {
		return false
	}
	defer t.close()
	return slices.ContainsFunc(f.tails, func(o *tail) bool { return os.SameFile(o.info, t.info) }) || f.opt.Registry.has(t)
}

// readOld takes in what rotation has left of path, the oldest first, each to be read once.
func (f *Follow) readOld(path string, files []string) {
	for _, old := range files {
		if slices.ContainsFunc(f.patterns, func(p string) bool { ok, _ := filepath.Match(p, old); return ok }) {
			continue // it is found by itself
		}
		t, err := openTail(old)
		if err == nil {
			var k *Kept
			if k, _, _, err = f.opt.Registry.find(t); err == nil {
				err = t.keep(k, k.Offset, k.Line)
			}
			t.name = path
			f.tails = append(f.tails, t)
		}
		if err != nil {
			f.skip(old, "%v", err)
		}
	}
}

// isPredecessor reports whether name is what a rotation makes of base: it goes on behind it with a dot or a dash.
func isPredecessor(name, base string) bool {
	rest, ok := strings.CutPrefix(name, base)
	return ok && len(rest) > 1 && (rest[0] == '.' || rest[0] == '-')
}

// predecessors returns the files whose names a rotation makes of path, by the time of their last change.
func predecessors(path string) (found []string) {
	entries, _ := os.ReadDir(filepath.Dir(path)) // what cannot be listed cannot be found
	times := make(map[string]time.Time)
	for _, entry := range entries {
		info, err := entry.Info()
		if err == nil && info.Mode().IsRegular() && isPredecessor(entry.Name(), filepath.Base(path)) {
			old := filepath.Join(filepath.Dir(path), entry.Name())
			times[old] = info.ModTime()
			found = append(found, old)
		}
	}
	slices.SortFunc(found, func(a, b string) int {
		return cmp.Or(times[a].Compare(times[b]), strings.Compare(b, a)) // log.2 is older than log.1
	})
	return found
}

// resumeRenamed takes in the files that an earlier run has followed and that have another name now, so that what was
// written to them meanwhile is read first.
func (f *Follow) resumeRenamed() {
	for _, k := range f.opt.Registry.rest(f.tails) {
		f.resume(k, k.Offset, k.Line)
	}
}

// resume takes in the file that k is about, under its present name: it was renamed, copied or compressed. It comes
// before all others of its name.
func (f *Follow) resume(k *Kept, offset, line int64) {
	for _, path := range append(predecessors(k.Path), k.Path) {
		t, err := openTail(path)
		if err != nil {
			continue
		}
		if !k.isOf(t) || slices.ContainsFunc(f.tails, func(o *tail) bool { return os.SameFile(o.info, t.info) }) || t.keep(k, offset, line) != nil {
			t.close()
			continue
		}
		f.opt.Told("%s is %s now; goes on at byte %d", k.Path, path, offset)
		t.name = k.Path
		f.tails = append([]*tail{t}, f.tails...)
		return
	}
	f.opt.Told("%s: the file that was read up to byte %d is gone; if more was written to it, that is lost", k.Path, offset)
	f.opt.Registry.forget(k, 0)
}
