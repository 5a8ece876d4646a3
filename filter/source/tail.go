package source

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"time"
)

const (
	// pieceBytes is how much of a file is given at once, as far as whole lines fit.
	pieceBytes = 256 << 10

	// headBytes is how many of a file's first bytes tell it from others that the system gives the same number.
	headBytes = 1 << 10

	// certainHead is how many of them do, when the number is another.
	certainHead = 64
)

// errTruncated says that a file is not what it was: shorter than what was read, or another from the beginning.
var errTruncated = errors.New("truncated")

// errPacked says that a file was compressed when it was opened, and is not now.
var errPacked = errors.New("no longer compressed")

// A tail is one file that is followed, whatever its name. A packed one is compressed: it is read once, and its offsets
// are of its content.
type tail struct {
	*Kept // how far it is known to be handled, and who it is

	path string // its present name, as far as that matches
	name string // the name under which it was found first, which others may have now
	file *os.File
	info os.FileInfo

	named   bool      // it was there under a name that matches, when that was looked at last
	lost    time.Time // when it was seen to have none any more
	grew    time.Time // when it was seen to have grown
	over    bool      // it is read to its end, and will not grow
	told    bool      // that it cannot be read
	first   []byte    // its head when it was opened
	packed  bool
	release func() error

	at, line int64 // where the piece at hand begins
	content  io.Reader
	given    int64 // bytes of the piece that were read
	buf      []byte
	piece    []byte // of buf
	scanned  int64  // up to here there is no line feed behind at
}

// openTail opens the file at path.
func openTail(path string) (t *tail, err error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	t = &tail{path: path, name: path, file: file, grew: time.Now()}
	if t.info, err = file.Stat(); err == nil {
		magic := make([]byte, 10)
		n, _ := file.ReadAt(magic, 0)
		decompress, _ := codecOf(magic[:n])
		t.packed = decompress != nil
		t.first, err = t.head(headBytes)
	}
	if err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

// keep goes on with the file at an offset, as the one that k is about.
func (t *tail) keep(k *Kept, offset, line int64) (err error) {
	t.Kept, t.at, t.line, t.scanned = k, offset, line, offset
	if t.packed {
		t.content, t.release, err = t.open(offset)
	}
	return err
}

// head returns the first n bytes of the content, or what there is of them.
func (t *tail) head(n int) ([]byte, error) {
	head := make([]byte, n)
	content, release, err := t.open(0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = release() }()
	n, err = io.ReadFull(content, head)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		err = nil
	}
	return head[:n], err
}

// open returns the content from an offset on.
func (t *tail) open(offset int64) (content io.Reader, release func() error, err error) {
	const end = 1<<63 - 1
	if !t.packed {
		return io.NewSectionReader(t.file, offset, end-offset), func() error { return nil }, nil
	}
	b := bufio.NewReaderSize(io.NewSectionReader(t.file, 0, end), readAhead)
	head, _ := b.Peek(10)
	decompress, _ := codecOf(head)
	if decompress == nil {
		return nil, nil, errPacked
	}
	if content, release, err = decompress(b); err != nil {
		return nil, nil, err
	}
	if _, err = io.CopyN(io.Discard, content, offset); err != nil {
		_ = release()
		return nil, nil, err
	}
	return content, release, nil
}

func (t *tail) close() {
	if t.release != nil {
		_ = t.release()
	}
	_ = t.file.Close() // it was only read
}

// lostName notes whether the file has a name.
func (t *tail) lostName(now time.Time) {
	if t.named {
		t.lost = time.Time{}
	} else if t.lost.IsZero() {
		t.lost = now
	}
}

// look finds the next piece, and reports whether there is one. errTruncated says that the file has to be begun anew.
func (t *tail) look(r *Registry) (bool, error) {
	if t.packed {
		return t.lookPacked(), nil
	}
	info, err := t.file.Stat()
	if err != nil {
		return false, err
	}
	if err := t.check(info, r); err != nil {
		return false, err
	}
	if info.Size() <= t.at {
		t.over = t.lingered()
		return false, nil
	}
	return t.cut()
}

// check looks whether the file is still what it was when it has changed, and keeps more of the first bytes of one that
// was short. errTruncated says that it is not.
func (t *tail) check(info os.FileInfo, r *Registry) error {
	if t.packed || info.Size() == t.info.Size() && info.ModTime().Equal(t.info.ModTime()) {
		return nil
	}
	t.info, t.grew = info, time.Now()
	head, err := t.head(headBytes)
	if err != nil {
		return err
	}
	if info.Size() < t.at || !t.isHead(head) {
		return errTruncated
	}
	r.grow(t.Kept, head)
	return nil
}

// lookPacked gives what is left of a compressed file, all at once.
func (t *tail) lookPacked() bool {
	if t.over {
		return false
	}
	t.over, t.given = true, 0
	return true
}

// lingered reports whether the file has had no name for long enough to be given up.
func (t *tail) lingered() bool {
	now := time.Now()
	return !t.lost.IsZero() && now.Sub(t.lost) > lingerFor && now.Sub(t.grew) > lingerFor
}

// cut sets the piece to the whole lines that a buffer holds, or to one line that no buffer does. The line that a file
// without a name ends with is whole in the end.
func (t *tail) cut() (bool, error) {
	if t.buf == nil {
		t.buf = make([]byte, pieceBytes)
	}
	for {
		n, err := t.file.ReadAt(t.buf, t.scanned)
		if err != nil && err != io.EOF {
			return false, err
		}
		read := t.buf[:n]
		end := bytes.LastIndexByte(read, '\n') + 1
		if t.scanned > t.at { // a long line: to its own end
			end = bytes.IndexByte(read, '\n') + 1
		}
		switch {
		case end > 0 && t.scanned == t.at:
			t.give(bytes.NewReader(read[:end]))
			t.piece = read[:end]
			return true, nil
		case end > 0:
			t.give(io.NewSectionReader(t.file, t.at, t.scanned+int64(end)-t.at))
			return true, nil
		case n == len(t.buf):
			t.scanned += int64(n)
		case t.lingered():
			t.give(io.NewSectionReader(t.file, t.at, t.scanned+int64(n)-t.at))
			return true, nil
		default:
			return false, nil
		}
	}
}

func (t *tail) give(content io.Reader) { t.content, t.piece, t.given = content, nil, 0 }

// finish goes on behind the piece at hand, as far as it was read.
func (t *tail) finish() {
	if t.piece != nil {
		t.line += int64(bytes.Count(t.piece[:t.given], []byte("\n")))
	} else {
		t.line++
	}
	t.at += t.given
	t.scanned = t.at
}
