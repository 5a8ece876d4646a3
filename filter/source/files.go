// Package source opens what the filter reads: files one after the other, and standard input, plain or compressed. It
// knows nothing of lines; package filter cuts them.
package source

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// Stdin is the name of standard input among the paths, and of the input that it becomes.
const Stdin = "-"

// readAhead is how many bytes are read at once where the consumer does not say: in front of a decompressor.
const readAhead = 64 << 10

// Files reads files one after the other, each opened when its turn comes. It is for one goroutine at a time.
type Files struct {
	// Written is the file that what is read here ends up in, if that is a file. It is refused as an input: it would
	// never end.
	Written fs.FileInfo

	paths []string // those to come
	stdin io.Reader

	name    string
	id      string
	current io.Reader      // nil while it is not known whether the file is compressed
	head    *bufio.Reader  // the file's own bytes
	closers []func() error // what the current input holds; the file goes first, on which a decoder may wait
}

// Open returns the inputs that paths name, in that order; none means stdin alone, as does [Stdin].
//
// A file compressed with gzip, zstd or bzip2 is told by its first bytes, whatever its name, and gives its content; so
// does standard input that is a file. Standard input that is a pipe, a socket or a terminal passes as it is: its first
// bytes may be a stranger's, and a line that begins like a gzip file must not cost all lines after it.
func Open(paths []string, stdin io.Reader) *Files {
	if len(paths) == 0 {
		paths = []string{Stdin}
	}
	return &Files{paths: paths, stdin: stdin, head: bufio.NewReaderSize(nil, readAhead)}
}

// Next goes on to the next input and returns its name as it was given; [io.EOF] says that there is none. After any
// other error, which names the file, Next can be called again for the one after it.
func (f *Files) Next() (name string, err error) {
	f.close()
	if len(f.paths) == 0 {
		return "", io.EOF
	}
	f.name, f.paths, f.id = f.paths[0], f.paths[1:], ""
	if f.name != Stdin {
		return f.name, f.open()
	}
	file, ok := f.stdin.(*os.File)
	if !ok || !isRegular(file) {
		f.current = f.stdin
		return f.name, nil
	}
	f.head.Reset(file)
	return f.name, f.named(f.refuse(file))
}

// Read reads the content of the input that Next went on to, which must have succeeded. It reads once and never waits
// for more than one byte, but for what a decompressor needs. Errors name the file, and what could be decompressed
// before one has been given.
func (f *Files) Read(p []byte) (int, error) {
	if f.current == nil {
		if err := f.detect(); err != nil {
			return 0, f.named(err)
		}
	}
	n, err := f.current.Read(p)
	return n, f.named(err)
}

// At says where the input that Next went on to stands: at the beginning of a file, which the ID tells from others that
// this host has or had. Standard input has none.
func (f *Files) At() (id string, offset, line int64) { return f.id, 0, 1 }

func (f *Files) open() error {
	file, err := os.Open(f.name)
	if err != nil {
		return err
	}
	if info, err := file.Stat(); err == nil && info.Mode().IsRegular() {
		f.id = fileNumber(info) + ":" + born(file)
	}
	f.closers = append(f.closers, file.Close)
	f.head.Reset(file)
	return f.named(f.refuse(file))
}

var errWritten = errors.New("is the output, too")

// refuse returns an error when file is the one that is written to.
func (f *Files) refuse(file *os.File) error {
	if f.Written == nil {
		return nil
	}
	info, err := file.Stat()
	if err == nil && os.SameFile(info, f.Written) {
		return errWritten
	}
	return err
}

// detect reads as many bytes as it takes to rule every codec out, or all but one. None has a line feed among them, so
// that a first line never waits for the second.
func (f *Files) detect() error {
	for n := 1; ; n++ {
		head, err := f.head.Peek(n)
		decompress, undecided := codecOf(head)
		switch {
		case decompress != nil:
			content, closer, err := decompress(f.head)
			if err != nil {
				return err
			}
			f.current, f.closers = content, append(f.closers, closer)
			return nil
		case !undecided || err != nil: // Read meets the error again
			f.current = f.head
			return nil
		}
	}
}

// named adds the file's name where err lacks it.
func (f *Files) named(err error) error {
	var path *fs.PathError
	if err == nil || err == io.EOF || errors.As(err, &path) {
		return err
	}
	return fmt.Errorf("%s: %w", f.name, err)
}

// close gives up the current input. It was only read, so that errors of closing say nothing.
func (f *Files) close() {
	for _, closer := range f.closers {
		_ = closer()
	}
	f.closers, f.current = f.closers[:0], nil
	f.head.Reset(nil)
}

func isRegular(file *os.File) bool {
	info, err := file.Stat()
	return err == nil && info.Mode().IsRegular()
}
