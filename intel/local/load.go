package local

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"

	"iocpipe/intel"
)

// The bounds of lines, in bytes: of report lines, and of those of plain lists.
const (
	maxReportLine = 16 << 20
	maxListLine   = 8 << 10
)

var errTooLong = errors.New("line is too long")

// Load reads files of local intelligence, and all files below folders: report lines (NDJSON), and plain lists of one
// value per line with # or ; comments. A feed's name is its file's, without extension. Below a folder hidden files are
// passed over, and what is no file. What cannot be read or understood is left out and told in errs, one error for each
// file; the store is good with the rest.
func Load(paths []string) (store *Store, errs []error) {
	store = newStore()
	defer store.finish()
	for _, path := range paths {
		for file, err := range filesBelow(path) {
			if err == nil {
				err = store.loadFile(file)
			}
			if err != nil {
				errs = append(errs, err)
			}
		}
	}
	return store, errs
}

// filesBelow returns path itself, if it is no folder, or the files below it in the order of their names, and what is in
// the way of reading them.
func filesBelow(root string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		info, err := os.Stat(root)
		if err != nil || !info.IsDir() {
			yield(root, err)
			return
		}
		if target, err := filepath.EvalSymlinks(root); err == nil {
			root = target // a link is not walked into
		}
		// WalkDir errs only with what is returned to it.
		_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
			case path != root && strings.HasPrefix(d.Name(), "."):
				if d.IsDir() {
					return fs.SkipDir
				}
				return nil
			case d.Type()&^fs.ModeSymlink != 0: // folders, pipes, sockets, devices
				return nil
			}
			if !yield(path, err) {
				return fs.SkipAll
			}
			return nil
		})
	}
}

func (s *Store) loadFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	name := filepath.Base(path)
	if err := s.load(f, strings.TrimSuffix(name, filepath.Ext(name))); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// load adds the lines of r. Its error names the line that could not be read, or else the first that was refused, and
// how many were.
func (s *Store) load(r io.Reader, source string) error {
	lines := lineReader{r: bufio.NewReaderSize(r, 64<<10)}
	list := &entry{source, listed}
	var first error
	refused := 0
	for n := 1; ; n++ {
		line, err := lines.next()
		if err != nil && err != io.EOF {
			return fmt.Errorf("line %d: %w", n, err)
		}
		if e := s.addLine(line, list); e != nil {
			if refused++; first == nil {
				first = fmt.Errorf("line %d: %w", n, e)
			}
		}
		if err == io.EOF {
			break
		}
	}
	if refused > 1 {
		return fmt.Errorf("%w (and %d more lines that were left out)", first, refused-1)
	}
	return first
}

var byteOrderMark = []byte("\ufeff")

// addLine adds what a line says; list is the entry of a plain list's values.
func (s *Store) addLine(line []byte, list *entry) error {
	line = bytes.TrimSpace(bytes.TrimPrefix(line, byteOrderMark))
	if len(line) > 0 && line[0] == '{' {
		return s.addReportLine(line, list.source)
	}
	if comment := bytes.IndexAny(line, "#;"); comment >= 0 {
		line = bytes.TrimSpace(line[:comment])
	}
	switch {
	case len(line) == 0:
		return nil
	case len(line) > maxListLine:
		return errTooLong
	}
	return s.addListed(string(line), list)
}

func (s *Store) addReportLine(line []byte, source string) error {
	if len(line) > maxReportLine {
		return errTooLong
	}
	key, report, err := intel.ParseReportLine(line)
	if err != nil {
		return err
	}
	s.addEntry(key, &entry{source, &report})
	return nil
}

// A lineReader reads lines one after the other. Of a line over maxReportLine it returns a piece that is longer than
// that, and goes on with the next line.
type lineReader struct {
	r    *bufio.Reader
	long []byte
}

// next returns the next line, which is valid until the next call; with io.EOF it is the last.
func (l *lineReader) next() ([]byte, error) {
	piece, err := l.r.ReadSlice('\n')
	if err != bufio.ErrBufferFull { // nearly always
		return piece, err
	}
	for l.long = append(l.long[:0], piece...); err == bufio.ErrBufferFull; {
		piece, err = l.r.ReadSlice('\n')
		if len(l.long) <= maxReportLine {
			l.long = append(l.long, piece...)
		}
	}
	return l.long, err
}
