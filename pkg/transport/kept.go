package transport

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/filelock"
)

// Kept keeps the refresh token that a partner gives in place of the configured one, which may be worth nothing from
// then on: the next process goes on with it. It is a file of its own for each configured token, and sealed with what
// only the configuration knows, so that a copy of the folder is no copy of a credential. A nil Kept keeps nothing.
// Processes may share it.
type Kept struct {
	path string
	seal cipher.AEAD
}

// NewKept keeps the token that comes after that of a grant, in a folder that is made when there is one.
func NewKept(folder string, g *destination.Grant) (*Kept, error) {
	key := sha256.Sum256([]byte("fanfold refresh token\x00" + g.URL + "\x00" + g.Form("")))
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, err
	}
	seal, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	name := sha256.Sum256(key[:])
	return &Kept{path: filepath.Join(folder, hex.EncodeToString(name[:8])), seal: seal}, nil
}

// Token is the one that was kept last; "": none was.
func (k *Kept) Token() (string, error) {
	if k == nil {
		return "", nil
	}
	data, err := os.ReadFile(k.path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("the kept refresh token: %w", err)
	}
	if n := k.seal.NonceSize(); len(data) >= n {
		if plain, err := k.seal.Open(nil, data[:n], data[n:], nil); err == nil {
			return string(plain), nil
		}
	}
	return "", fmt.Errorf("the kept refresh token: %s %w: remove it, and configure a new token", k.path, errDamaged)
}

var errDamaged = errors.New("is damaged")

// Keep puts a token in the place of the one before, or changes nothing.
func (k *Kept) Keep(token string) (err error) {
	if k == nil {
		return nil
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("keeping a refresh token: %w", err)
		}
	}()
	if err = os.MkdirAll(filepath.Dir(k.path), 0o700); err != nil {
		return err
	}
	nonce := make([]byte, k.seal.NonceSize())
	rand.Read(nonce)
	f, err := os.CreateTemp(filepath.Dir(k.path), ".token-*") // 0600
	if err != nil {
		return err
	}
	_, err = f.Write(k.seal.Seal(nonce, nonce, []byte(token), nil))
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), k.path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// lock waits until no other process asks for a token; done lets the next one. Where no lock can be had, such as on a
// disk that is full, nobody is waited for.
func (k *Kept) lock(ctx context.Context) (done func(), err error) {
	if k == nil {
		return func() {}, nil
	}
	locked := make(chan *os.File, 1)
	go func() {
		if os.MkdirAll(filepath.Dir(k.path), 0o700) != nil {
			locked <- nil
			return
		}
		f, err := filelock.Wait(k.path + ".lock")
		if err != nil {
			f = nil
		}
		locked <- f
	}()
	select {
	case f := <-locked:
		return func() { f.Close() }, nil // of a nil file that does nothing
	case <-ctx.Done():
		go func() { (<-locked).Close() }()
		return nil, ctx.Err()
	}
}
