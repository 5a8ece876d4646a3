package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"iocpipe/extract"
	"iocpipe/filter"
	"iocpipe/filter/annotate"
	"iocpipe/intel/local"
	"iocpipe/intel/local/feed"
)

// noticeEvery is how often the files behind local intelligence and allow lists are looked at for changes.
const noticeEvery = 2 * time.Second

// own is what the user says: local intelligence, allow and own lists. Of its files, those that change are read again.
type own struct {
	paths  []string // of local intelligence
	store  string   // the path of the host's store, empty for none
	must   bool     // the store was asked for, so that it is wrong when there is none
	scan   *scanFlags
	know   *filter.Knowledge
	stream *stream

	seen   [numParts]string // prints of the files as they were read
	wrong  [numParts][]string
	lists  *local.Store // of paths
	host   *local.Store // at store; nil when there is none
	file   os.FileInfo  // of the file at store that was read; nil when there was none
	policy extract.Policy
	silent bool // an allow list cannot be read

	stale   map[string]bool // feeds of whose age was warned
	allowed int             // by the host's store, when that was looked at last: allowances expire

	renewed func() // is called when something was read again, and once more a while after; may be nil
}

// own returns what the user says by these flags, in the files at paths and in the lists of scan. Nothing is read yet.
func (f *sourceFlags) own(paths []string, scan *scanFlags, know *filter.Knowledge, s *stream) *own {
	return &own{paths: paths, store: f.path(), must: f.store != "", scan: scan, know: know, stream: s}
}

// The parts that are read again each by itself.
const (
	listsPart = iota
	storePart
	allowPart
	numParts
)

// load reads what has changed and hands everything to the knowledge. What cannot be read is warned about and left out;
// without a whole allow list nothing may be asked. Only a wrong --own is an error.
func (o *own) load() error {
	for part, read := range [numParts]func() ([]error, error){o.readLists, o.readStore, o.readAllowed} {
		print := o.print(part) // before it is read: what changes meanwhile is read again
		if !o.changed(part, print) {
			continue
		}
		wrong, err := read()
		if err != nil {
			return err
		}
		o.complain(part, wrong)
		o.seen[part] = print
	}
	allowed := o.host.Allow()
	o.allowed = allowed.Len()
	policy := o.policy
	if o.allowed > 0 {
		policy.Allow = policy.Allow.With(allowed)
	}
	o.know.SetOwn(local.Join(o.host, o.lists), policy, !o.silent)
	return nil
}

func (o *own) readLists() (wrong []error, err error) {
	store, errs := local.Load(o.paths)
	o.lists = store
	for _, e := range errs {
		wrong = append(wrong, fmt.Errorf("--intel: %w", e))
	}
	return wrong, nil
}

// readStore opens the host's store. The one that was read stays while there is a broken one in its place.
func (o *own) readStore() (wrong []error, err error) {
	info, err := os.Stat(o.store)
	if o.store == "" || !o.must && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)) {
		o.host, o.file = nil, nil
		return nil, nil
	}
	o.file = info
	store, err := local.Open(o.store)
	if err != nil {
		return []error{fmt.Errorf("local store: %w", err)}, nil
	}
	o.host = store
	return nil, nil
}

func (o *own) readAllowed() (wrong []error, err error) {
	policy, err := o.scan.policy()
	var usage exitError
	if errors.As(err, &usage) {
		return nil, err
	}
	o.policy, o.silent = policy, err != nil
	if err != nil {
		wrong = append(wrong, fmt.Errorf("%w; nothing is asked over the network until it can be read", err))
	}
	return wrong, nil
}

// complain warns about what was not wrong before with a part, and takes back what has mended.
func (o *own) complain(part int, wrong []error) {
	before := o.wrong[part]
	o.wrong[part] = nil
	for _, err := range wrong {
		o.wrong[part] = append(o.wrong[part], err.Error())
		if !slices.Contains(before, err.Error()) {
			o.stream.degraded(err.Error(), err)
		}
	}
	for _, text := range before {
		if !slices.Contains(o.wrong[part], text) {
			o.stream.mended(text)
		}
	}
}

// watch reads what has changed, or everything when again is told, until ctx is done.
func (o *own) watch(ctx context.Context, again <-chan os.Signal) {
	tick := time.NewTicker(noticeEvery)
	defer tick.Stop()
	o.warnOfAge()
	settled := true // renewed has been called since the last event passed that may have missed a change
	for {
		select {
		case <-ctx.Done():
			return
		case <-again:
			o.seen = [numParts]string{}
		case <-tick.C:
		}
		if err := o.host.Err(); err != nil {
			o.complain(storePart, []error{fmt.Errorf("local store: %w", err)})
		}
		o.warnOfAge()
		changed := !o.unchanged()
		if changed {
			if err := o.load(); err != nil {
				o.stream.complain(err)
			}
		}
		if o.renewed != nil && (changed || !settled) {
			o.renewed()
		}
		settled = !changed
	}
}

// feedAges returns how old the feeds of the host's store are.
func (o *own) feedAges() []feed.Age {
	if o.store == "" {
		return nil
	}
	registry, err := feed.Load(registryPath(o.store))
	if err != nil {
		return nil // intel update says so
	}
	return registry.Ages(time.Now())
}

// warnOfAge tells once of each feed that is older than it should be.
func (o *own) warnOfAge() {
	stale := make(map[string]bool)
	for _, age := range o.feedAges() {
		if warning := age.Warning(); warning != "" {
			stale[age.Name] = true
			if !o.stale[age.Name] {
				fmt.Fprintf(o.stream.con.stderr, "iocpipe: %s\n", annotate.Safe(warning))
			}
		}
	}
	o.stale = stale
}

func (o *own) unchanged() bool {
	for part := range o.seen {
		if o.changed(part, o.print(part)) {
			return false
		}
	}
	return o.allowed == o.host.Allow().Len()
}

// changed reports whether a part is another than the one that was read. A store that takes the place of another may
// have its size and, to the clock's grain, its time.
func (o *own) changed(part int, print string) bool {
	if part == storePart && o.file != nil {
		if info, err := os.Stat(o.store); err == nil && !os.SameFile(info, o.file) {
			return true
		}
	}
	return print != o.seen[part]
}

// print tells one state of a part's files from another.
func (o *own) print(part int) string {
	var b strings.Builder
	switch part {
	case listsPart:
		printFiles(&b, o.paths)
	case storePart:
		printFiles(&b, []string{o.store})
	case allowPart:
		printFiles(&b, o.scan.allow)
	}
	return b.String() + "read" // unlike what was never read
}

func printFiles(b *strings.Builder, paths []string) {
	for _, path := range paths {
		_ = filepath.WalkDir(path, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				fmt.Fprintf(b, "%s: %v\n", path, err)
				return nil
			}
			if info, err := d.Info(); err == nil && !d.IsDir() {
				fmt.Fprintf(b, "%s %d %d\n", path, info.Size(), info.ModTime().UnixNano())
			}
			return nil
		})
	}
}
