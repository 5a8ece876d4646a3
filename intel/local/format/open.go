package format

import (
	"archive/zip"
	"bufio"
	"compress/bzip2"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"iocpipe/intel"
)

// maxWindow bounds what a zstd file can make its reader hold, in bytes: what zstd -d takes without being told more.
const maxWindow = 128 << 20

// Open opens a file and gives its content, as [Decompress] does.
func Open(path string) (io.ReadCloser, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	r, err := Decompress(f)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &opened{r, r.Close, f.Close}, nil
}

// opened is a reader with what must be closed behind it, in this order.
type opened struct {
	io.Reader
	first, then func() error
}

// archiveIn returns the archive that r is, or nil.
func archiveIn(r io.Reader) *members {
	for {
		switch inner := r.(type) {
		case *members:
			return inner
		case *opened:
			r = inner.Reader
		default:
			return nil
		}
	}
}

func (o *opened) Close() error { return errors.Join(o.first(), o.then()) }

func nothing() error { return nil }

// Decompress gives the content of what is compressed with gzip, zstd or bzip2, or of a zip archive, told by its first
// bytes, and anything else as it is. An archive is spooled to a temporary file, because the list of its members stands
// at its end; they follow each other, each ended by a line ending. How much comes out is the caller's to bound. Close
// does not close r.
func Decompress(r io.Reader) (io.ReadCloser, error) {
	in := bufio.NewReaderSize(r, 64<<10)
	head, err := in.Peek(4)
	if err != nil && err != io.EOF {
		return nil, err
	}
	switch magic := string(head); {
	case strings.HasPrefix(magic, "\x1f\x8b\x08"):
		content, err := gzip.NewReader(in)
		if err != nil {
			return nil, fmt.Errorf("gzip: %w", err)
		}
		return content, nil
	case magic == "\x28\xb5\x2f\xfd", magic == "\x50\x2a\x4d\x18": // the latter a skippable frame, as pzstd writes
		content, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(2), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, err
		}
		return content.IOReadCloser(), nil
	case strings.HasPrefix(magic, "BZh"):
		return io.NopCloser(bzip2.NewReader(in)), nil
	case magic == "PK\x03\x04", magic == "PK\x05\x06": // the latter an empty archive
		return unzip(in)
	}
	return io.NopCloser(in), nil
}

// unzip gives the members of a zip archive one after the other.
func unzip(in io.Reader) (io.ReadCloser, error) {
	spool, err := os.CreateTemp("", "iocpipe-*.zip")
	if err != nil {
		return nil, err
	}
	os.Remove(spool.Name()) // where that is not possible while it is open, the system clears it up
	size, err := io.Copy(spool, in)
	if err == nil {
		var archive *zip.Reader
		if archive, err = zip.NewReader(spool, size); err == nil {
			return &opened{&members{files: archive.File}, nothing, spool.Close}, nil
		}
	}
	spool.Close()
	return nil, fmt.Errorf("zip: %w", err)
}

// members reads the files of an archive one after the other.
type members struct {
	files []*zip.File // what is left, without the open one
	open  io.ReadCloser
	name  string // of the open one
	last  byte
}

func (m *members) Read(p []byte) (int, error) {
	for len(p) > 0 {
		if m.open == nil {
			if err := m.next(); err != nil {
				return 0, err
			}
		}
		n, err := m.open.Read(p)
		if n > 0 {
			m.last = p[n-1]
			return n, nil // the error comes again
		}
		if err != nil && err != io.EOF {
			return 0, fmt.Errorf("%s: %w", m.name, err)
		}
		if err == io.EOF {
			m.open.Close()
			m.open = nil
			if m.last != '\n' && len(m.files) > 0 {
				p[0], m.last = '\n', '\n'
				return 1, nil
			}
		}
	}
	return 0, nil
}

// readLists reads each member as a list. The format is that of all of them, or the formats in the order of the archive.
func (m *members) readLists(opt Options, take func(intel.Entry) error, refuse func(Refused)) (Kind, error) {
	var kinds []string
	for {
		if err := m.next(); err == io.EOF {
			return Kind(strings.Join(kinds, ", ")), nil
		} else if err != nil {
			return Kind(strings.Join(kinds, ", ")), err
		}
		kind, err := Read(m.open, opt, take, func(r Refused) {
			r.Where = m.name + ", " + r.Where
			refuse(r)
		})
		m.open.Close()
		m.open = nil
		if err != nil {
			return kind, fmt.Errorf("%s: %w", m.name, err)
		}
		if !slices.Contains(kinds, string(kind)) {
			kinds = append(kinds, string(kind))
		}
	}
}

// next opens the next member that is a file.
func (m *members) next() error {
	for len(m.files) > 0 {
		f := m.files[0]
		m.files = m.files[1:]
		const encrypted = 1
		switch {
		case f.FileInfo().IsDir():
			continue
		case f.Flags&encrypted != 0:
			return fmt.Errorf("%s: is encrypted: unpack the archive first", f.Name)
		}
		open, err := f.Open()
		if err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
		m.open, m.name, m.last = open, f.Name, '\n'
		return nil
	}
	return io.EOF
}

// Files yields root itself, if it is no folder, or the files below it in the order of their names, and what is in the
// way of reading them. Hidden files and folders below root are passed over, and what is no file. Of the folder of a MISP
// feed neither its manifest nor its hashes are yielded, which hold no values, but the events that the manifest names and
// that are not there are errors.
func Files(root string) iter.Seq2[string, error] {
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
			case d.Name() == manifestName && isManifest(path):
				return yieldMissing(path, yield)
			case d.Name() == "hashes.csv" && isManifest(filepath.Join(filepath.Dir(path), manifestName)):
				return nil
			}
			if !yield(path, err) {
				return fs.SkipAll
			}
			return nil
		})
	}
}

// manifestName is the name of the file that lists the events of a MISP feed, which stand beside it.
const manifestName = "manifest.json"

// isManifest reports whether a file is the manifest of a MISP feed.
func isManifest(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	head := make([]byte, headSize)
	n, _ := io.ReadFull(f, head)
	return tellJSON(string(head[:n])) == MISPFeed
}

// yieldMissing yields errors for the events that a manifest names and that are not beside it.
func yieldMissing(manifest string, yield func(string, error) bool) error {
	f, err := os.Open(manifest)
	if err != nil {
		return nil // it was there a moment ago
	}
	defer f.Close()
	d := newJSON(f)
	err = d.object(func(event string) error {
		if !uuid.MatchString(event) {
			return d.skip()
		}
		path := filepath.Join(filepath.Dir(manifest), event+".json")
		if _, err := os.Stat(path); err != nil && !yield(path, fmt.Errorf("%s names an event: %w", manifest, err)) {
			return fs.SkipAll
		}
		return d.skip()
	})
	if err != nil && err != fs.SkipAll && !yield(manifest, fmt.Errorf("%s: %w", manifest, err)) {
		return fs.SkipAll
	}
	if err == fs.SkipAll {
		return err
	}
	return nil
}

// compressions are the extensions of compressed files.
var compressions = []string{".gz", ".zst", ".bz2", ".zip"}

// SourceName returns the name of the source that a file holds: the file's own, without folders and without the
// extensions of compression and format.
func SourceName(path string) string {
	name := filepath.Base(path)
	if ext := filepath.Ext(name); slices.Contains(compressions, strings.ToLower(ext)) {
		name = name[:len(name)-len(ext)]
	}
	if stem := strings.TrimSuffix(name, filepath.Ext(name)); stem != "" {
		return stem
	}
	return name
}
