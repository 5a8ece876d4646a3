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
	"time"

	"iocpipe/filter"
	"iocpipe/intel/local"
)

// noticeEvery is how often the files behind local intelligence and allow lists are looked at for changes.
const noticeEvery = 2 * time.Second

// own is what the user says: local intelligence, allow and own lists. It is read again when a file changes.
type own struct {
	paths  []string // of local intelligence
	scan   *scanFlags
	know   *filter.Knowledge
	stream *stream

	changed func() // is called when everything was read again, and once more a while after; may be nil

	seen  string   // a print of the files as they were read
	wrong []string // with them then
	store *local.Store
}

// load reads everything and hands it to the knowledge. What cannot be read is warned about and left out; without a
// whole allow list nothing may be asked. Only a wrong --own is an error.
func (o *own) load() error {
	o.seen = o.print()
	policy, err := o.scan.policy()
	var usage exitError
	if errors.As(err, &usage) {
		return err
	}
	var wrong []error
	if err != nil {
		wrong = append(wrong, fmt.Errorf("%w; nothing is asked over the network until it can be read", err))
	}
	store, errs := local.Load(o.paths)
	for _, e := range errs {
		wrong = append(wrong, fmt.Errorf("--intel: %w", e))
	}
	o.complain(wrong)
	o.store = store
	o.know.SetOwn(store, policy, err == nil)
	return nil
}

// complain warns about what was not wrong before, and takes back what has mended.
func (o *own) complain(wrong []error) {
	before := o.wrong
	o.wrong = nil
	for _, err := range wrong {
		o.wrong = append(o.wrong, err.Error())
		if !slices.Contains(before, err.Error()) {
			o.stream.complainOf(err.Error(), err)
		}
	}
	for _, text := range before {
		if !slices.Contains(o.wrong, text) {
			o.stream.mended(text)
		}
	}
}

// watch reads everything again whenever a file has changed or again is told, until ctx is done.
func (o *own) watch(ctx context.Context, again <-chan os.Signal) {
	tick := time.NewTicker(noticeEvery)
	defer tick.Stop()
	settled := true // changed has been called since the last event passed that may have missed a change
	for {
		select {
		case <-ctx.Done():
			return
		case <-again:
			o.seen = ""
		case <-tick.C:
		}
		changed := o.print() != o.seen
		if changed {
			if err := o.load(); err != nil {
				o.stream.complain(err)
			}
		}
		if o.changed != nil && (changed || !settled) {
			o.changed()
		}
		settled = !changed
	}
}

// print returns names, sizes and times of all the files.
func (o *own) print() string {
	var b strings.Builder
	for _, path := range append(append([]string(nil), o.paths...), o.scan.allow...) {
		_ = filepath.WalkDir(path, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				fmt.Fprintf(&b, "%s: %v\n", path, err)
				return nil
			}
			if info, err := d.Info(); err == nil && !d.IsDir() {
				fmt.Fprintf(&b, "%s %d %d\n", path, info.Size(), info.ModTime().UnixNano())
			}
			return nil
		})
	}
	return b.String()
}
