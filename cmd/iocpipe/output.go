package main

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"

	"iocpipe/filter"
)

// A destination is where what was read leaves to.
type destination interface {
	io.Writer
	filter.Positioner
	passOn(to *following) // from then on tells it what is safe
	info() fs.FileInfo    // of the file that is written to, which is no input; nil for none
	Reopen() error        // after a rotation
	Close() error         // an error means that something may be lost
}

// An output is where lines go: standard output, or a file that is appended to and can be reopened after a rotation.
type output struct {
	path string
	mu   sync.Mutex // held while a block is written, so that a reopening does not part it
	w    io.Writer
	file *os.File // nil for standard output

	midLine   bool         // what was written last does not end a line
	inserted  []byte       // lines that wait for the end of a line
	followUps atomic.Int64 // lines inserted

	follow *following      // is told what is written; may be nil
	next   filter.Position // that the next Write leads to
	cut    bool            // the file ends in the middle of a line: one was killed while it wrote
}

func openOutput(path string, stdout io.Writer) (*output, error) {
	o := &output{path: path, w: stdout}
	if path == "-" {
		return o, nil
	}
	if err := o.Reopen(); err != nil {
		return nil, err
	}
	o.cut = endsInLine(path)
	return o, nil
}

// endsInLine reports whether the file at path does not end with a line's end.
func endsInLine(path string) bool {
	file, err := os.Open(path)
	if err != nil {
		return false
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() == 0 {
		return false
	}
	last := make([]byte, 1)
	_, err = file.ReadAt(last, info.Size()-1)
	return err == nil && last[0] != '\n'
}

// written returns what file w is, or nil when it is a terminal, a pipe or something else that cannot be read again.
func written(w io.Writer) fs.FileInfo {
	file, ok := w.(*os.File)
	if !ok {
		return nil
	}
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return nil
	}
	return info
}

// info returns the file that is written to now, or nil when it is none.
func (o *output) info() fs.FileInfo {
	o.mu.Lock()
	defer o.mu.Unlock()
	return written(o.w)
}

// Write writes a block.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.cut {
		if _, err := o.w.Write([]byte("\n")); err != nil {
			return 0, err
		}
		o.cut = false
	}
	o.mark(p)
	n, err := o.w.Write(p)
	if n > 0 {
		o.midLine = p[n-1] != '\n'
	}
	if err == nil && !o.midLine {
		err = o.writeInserted()
	}
	return n, err
}

// mark notes where the lines are going to be written that lead to o.next.
func (o *output) mark(p []byte) {
	if o.follow != nil && o.file != nil && o.next != (filter.Position{}) && written(o.w) != nil {
		o.follow.reaching(o.next, o.file, p)
	}
	o.next = filter.Position{}
}

// Reaching tells how far the next Write leads.
func (o *output) Reaching(at filter.Position) { o.next = at }

// Reached tells how far the input is written.
func (o *output) Reached(at filter.Position) {
	if o.follow != nil {
		o.follow.Reached(at)
	}
}

func (o *output) passOn(to *following) { o.follow = to }

// Insert writes a line of the program's own between those that pass, as soon as no line is half written.
func (o *output) Insert(line []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.followUps.Add(1)
	o.inserted = append(o.inserted, line...)
	if !o.midLine {
		_ = o.writeInserted() // the next block meets the same error
	}
}

func (o *output) writeInserted() error {
	if len(o.inserted) == 0 {
		return nil
	}
	_, err := o.w.Write(o.inserted)
	o.inserted = o.inserted[:0]
	return err
}

// Reopen opens the file of that name anew. On an error the old one is written on.
func (o *output) Reopen() error {
	if o.path == "-" {
		return nil
	}
	file, err := os.OpenFile(o.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o640)
	if err != nil {
		return fmt.Errorf("--to: %w", err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.file != nil {
		_ = o.file.Close() // every block in it was written by a call that succeeded
	}
	o.w, o.file = file, file
	return nil
}

// Close closes the file; its error means that lines may be lost.
func (o *output) Close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.inserted) > 0 {
		o.inserted = append([]byte("\n"), o.inserted...) // the last line came without an ending
		if err := o.writeInserted(); err != nil {
			return err
		}
	}
	if o.file == nil {
		return nil
	}
	file := o.file
	o.file = nil
	return file.Close()
}
