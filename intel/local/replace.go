package local

import (
	"fmt"
	"io"
	"path/filepath"

	"iocpipe/intel"
)

// An Import is a list of intelligence that is to be taken into a store.
type Import struct {
	Source Source // Entries is filled in, and what Read fills in is kept

	// Read streams the entries of the list, once; an error ends all. It may fill in the Import's Source meanwhile: what
	// was refused is known only then.
	Read func(take func(intel.Entry) error) error
}

// A Result says what became of one import. What it counts are entries of its list.
type Result struct {
	Source    string
	Taken     int // in the store now
	Unchanged int // of those taken: were there before and said the same
	Replaced  int // of those taken: were there before and said something else
	Dropped   int // were there before and are no more
	Expired   int // not taken, because they had expired
	Duplicate int // not taken, because the list says so already
	Excess    int // not taken, because there were more than 65,536 of one indicator, or 16 words about it
}

// Replace makes the store at path hold what the imports read, in place of what it held of sources of their names, and
// all else as it was. It makes the file if there is none. When it errs, nothing has changed. Others can read and edit
// the store while the lists are read; only then do they wait for it.
func Replace(path string, imports ...*Import) ([]Result, error) {
	b := newBuilder(filepath.Dir(path))
	defer b.close()
	seen := make(map[string]bool)
	for _, in := range imports {
		if seen[in.Source.Name] {
			return nil, fmt.Errorf("%s: is imported twice at once; give one of them another name", in.Source.Name)
		}
		seen[in.Source.Name] = true
		b.begin(in.Source)
		if err := in.Read(b.take); err != nil {
			return nil, fmt.Errorf("%s: %w", in.Source.Name, err)
		}
		b.sources[len(b.sources)-1].Source = in.Source
	}
	err := change(path, func(old *file, w *fileWriter) error { return rebase(old, w, b) })
	return b.results, err
}

// Remove takes a whole source out of the store at path.
func Remove(path, source string) error {
	b := newBuilder("")
	return change(path, func(old *file, w *fileWriter) error {
		if old != nil && old.base != nil {
			for _, row := range old.base.sources {
				if row.Name == source {
					return rebase(old, w, b, source)
				}
			}
		}
		return fmt.Errorf("holds no source %q", source)
	})
}

// rebase writes a file with a new base and the edits of the old one.
func rebase(old *file, w *fileWriter, b *builder, gone ...string) error {
	var base *segment
	if old != nil {
		base = old.base
	}
	if err := w.part(basePart, func(out io.Writer) error { return merge(out, b, base, gone...) }); err != nil {
		return err
	}
	edits, err := editsOf(old)
	if err != nil {
		return err
	}
	return edits.write(w)
}
