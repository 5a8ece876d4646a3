package local

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"runtime"
)

// A fileWriter writes a store file.
type fileWriter struct {
	f     *os.File
	at    uint64
	parts []part
}

// part writes one part.
func (w *fileWriter) part(kind uint32, write func(io.Writer) error) error {
	p := part{kind: kind, at: w.at}
	sums := summer{w: w.f}
	err := write(&sums)
	if err != nil {
		return err
	}
	p.size, p.sums = sums.size, sums.end()
	w.add(p)
	return nil
}

// copy writes a part of an old file as it is, with the sums that it had: damage is copied, not hidden.
func (w *fileWriter) copy(p part, old *os.File) error {
	if _, err := old.Seek(int64(p.at), io.SeekStart); err != nil {
		return err
	}
	n, err := io.Copy(w.f, io.LimitReader(old, int64(p.size))) // the system may do it without us
	if err == nil && uint64(n) < p.size {
		err = io.ErrUnexpectedEOF
	}
	p.at = w.at
	w.add(p)
	return err
}

func (w *fileWriter) add(p part) {
	w.parts = append(w.parts, p)
	w.at += p.size
}

// finish writes the table and the header, and waits until all is on the disk.
func (w *fileWriter) finish() error {
	var table []byte
	for _, p := range w.parts {
		table = binary.LittleEndian.AppendUint32(table, p.kind)
		table = binary.LittleEndian.AppendUint32(table, 0)
		table = binary.LittleEndian.AppendUint64(table, p.at)
		table = binary.LittleEndian.AppendUint64(table, p.size)
		for _, sum := range p.sums {
			table = binary.LittleEndian.AppendUint32(table, sum)
		}
	}
	if _, err := w.f.Write(table); err != nil {
		return err
	}
	header := make([]byte, 0, headerSize)
	header = append(header, magic...)
	header = binary.LittleEndian.AppendUint32(header, version)
	header = binary.LittleEndian.AppendUint32(header, 0)
	header = binary.LittleEndian.AppendUint64(header, w.at+uint64(len(table)))
	header = binary.LittleEndian.AppendUint64(header, w.at)
	header = binary.LittleEndian.AppendUint64(header, uint64(len(table)))
	header = binary.LittleEndian.AppendUint32(header, crc32.Checksum(table, castagnoli))
	header = append(header, make([]byte, headerSize-4-len(header))...)
	header = binary.LittleEndian.AppendUint32(header, crc32.Checksum(header, castagnoli))
	if _, err := w.f.WriteAt(header, 0); err != nil {
		return err
	}
	return w.f.Sync()
}

// A summer writes on to w and takes the sums of pages.
type summer struct {
	w    io.Writer
	size uint64
	sum  uint32
	sums []uint32
}

func (s *summer) Write(data []byte) (int, error) {
	for rest := data; len(rest) > 0; {
		piece := rest[:min(uint64(len(rest)), pageSize-s.size%pageSize)]
		s.sum = crc32.Update(s.sum, castagnoli, piece)
		s.size += uint64(len(piece))
		if s.size%pageSize == 0 {
			s.sums, s.sum = append(s.sums, s.sum), 0
		}
		rest = rest[len(piece):]
	}
	return s.w.Write(data)
}

func (s *summer) end() []uint32 {
	if s.size%pageSize > 0 {
		s.sums = append(s.sums, s.sum)
	}
	return s.sums
}

// change calls write with the store file at path as it is, or nil when there is none, and puts what it wrote in its
// place: whoever opens the path finds the old file or the new one, whatever happens. One process at a time does it.
func change(path string, write func(old *file, w *fileWriter) error) error {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target // the link stays
	}
	unlock, err := lock(sibling(path, ".lock"))
	if err != nil {
		return err
	}
	defer unlock()
	beside := sibling(path, ".new")
	_ = os.Remove(beside) // of one who was killed: only who holds the lock writes there
	sweepScratch(filepath.Dir(path))
	old, err := openFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := writeBeside(path, beside, old, write); err != nil {
		_ = os.Remove(beside)
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// sibling returns the hidden file beside path that has its name with an extension: who reads all of a folder passes it
// over.
func sibling(path, extension string) string {
	return filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+extension)
}

func writeBeside(path, beside string, old *file, write func(*file, *fileWriter) error) error {
	mode := os.FileMode(0o644)
	if info, err := os.Stat(path); err == nil {
		mode = info.Mode().Perm()
	}
	f, err := os.OpenFile(beside, os.O_RDWR|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	defer f.Close()
	w := &fileWriter{f: f, at: headerSize}
	if _, err := f.Write(make([]byte, headerSize)); err != nil {
		return err
	}
	if old == nil {
		err = write(nil, w)
	} else {
		err = old.guard(func() error { return write(old, w) })
		runtime.KeepAlive(old)
	}
	if err == nil {
		err = w.finish()
	}
	if err == nil {
		err = os.Rename(beside, path)
	}
	if err == nil {
		syncFolder(filepath.Dir(path))
	}
	return err
}

// syncFolder waits until the names in a folder are on the disk, where that is possible.
func syncFolder(path string) {
	if folder, err := os.Open(path); err == nil {
		_ = folder.Sync()
		folder.Close()
	}
}
