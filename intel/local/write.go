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
	"sync"

	"iocpipe/sharedfile"
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
	_, err := w.f.WriteAt(header, 0)
	return err
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
	sharedfile.Sweep(path)
	sweepScratch(filepath.Dir(path))
	old, err := openFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := replaceFile(path, old, write); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// writing guards the stores where files cannot be locked, and only within this process.
var writing sync.Mutex

// lock waits until no other process, and nobody else in this one, holds the lock file at path. The file stays: to
// remove it would give two of them a lock of their own.
func lock(path string) (unlock func(), err error) {
	if !sharedfile.CanLock {
		writing.Lock()
		return writing.Unlock, nil
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	if err := sharedfile.Lock(f); err != nil {
		_ = f.Close()
		return nil, err
	}
	return func() { _ = f.Close() }, nil // which unlocks
}

// sibling returns the hidden file beside path that has its name with an extension: who reads all of a folder passes it
// over.
func sibling(path, extension string) string {
	return filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+extension)
}

func replaceFile(path string, old *file, write func(*file, *fileWriter) error) error {
	draft, err := sharedfile.Create(path, 0o644)
	if err != nil {
		return err
	}
	defer draft.Discard()
	w := &fileWriter{f: draft.File, at: headerSize}
	if _, err := draft.Write(make([]byte, headerSize)); err != nil {
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
		err = draft.Finish()
	}
	if err == nil {
		err = draft.Publish()
	}
	return err
}
