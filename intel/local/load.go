package local

import (
	"fmt"
	"io"
	"os"

	"iocpipe/intel/local/format"
)

// Load reads files of local intelligence, and all files below folders, as [format.Files] gives them: store files, and
// lists in every format of [format.Read]. What cannot be read or understood is left out and told in errs, one error for
// each file; the store is good with the rest. Of lists that agree the one that is named first speaks.
func Load(paths []string) (store *Store, errs []error) {
	l := loader{b: newBuilder("")}
	for _, path := range paths {
		for file, err := range format.Files(path) {
			if err == nil {
				err = l.load(file)
			}
			if err != nil {
				errs = append(errs, err)
			}
		}
	}
	if err := l.endLists(); err != nil {
		errs = append(errs, err)
	}
	return Join(l.stores...), errs
}

// A loader collects the stores that files hold. Lists that follow each other become one.
type loader struct {
	stores []*Store
	b      *builder
}

func (l *loader) load(path string) error {
	if isStore(path) {
		if err := l.endLists(); err != nil {
			return err
		}
		s, err := Open(path)
		if err == nil {
			l.stores = append(l.stores, s)
		}
		return err
	}
	r, err := format.Open(path)
	if err != nil {
		return err
	}
	defer r.Close()
	if err := l.b.load(r, format.SourceName(path)); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// endLists makes a store of the lists so far.
func (l *loader) endLists() error {
	if len(l.b.sources) == 0 {
		return nil
	}
	seg, err := segmentOf(l.b)
	if err != nil {
		return err
	}
	l.stores, l.b = append(l.stores, storeOfSegment(seg)), newBuilder("")
	return nil
}

// isStore reports whether the file at path begins as a store does.
func isStore(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	var head [len(magic)]byte
	_, err = io.ReadFull(f, head[:])
	return err == nil && string(head[:]) == magic
}

// load adds the list r. Its error names the record that could not be read, or else the first that was refused, and how
// many were.
func (b *builder) load(r io.Reader, source string) error {
	b.begin(Source{Name: source, Updated: b.now})
	row := &b.sources[len(b.sources)-1].Source
	var first format.Refused
	kind, err := format.Read(r, format.Options{Source: source, Now: b.now}, b.take, func(refused format.Refused) {
		if row.Refused++; row.Refused == 1 {
			first = refused
		}
	})
	row.Kind = string(kind)
	switch {
	case err != nil:
		return err
	case row.Refused > 1:
		return fmt.Errorf("%v (and %d more lines that were left out)", first, row.Refused-1)
	case row.Refused > 0:
		return fmt.Errorf("%v", first)
	}
	return nil
}
