// SPDX-License-Identifier: MIT

// A MongoDB-wire server for the tests: FerretDB over SQLite in a folder, on a loopback address.
//
//	ferretdb FOLDER [HOST:PORT]
//
// Without an address the system chooses the port. The address is printed on a line once clients may
// come. Ends on SIGTERM, and with its parent, so that it never outlives a test.
//
// FerretDB 1 reads and writes in two steps: two findAndModify of one document could both find what
// only one may take. mongod carries out a write of one document as a whole, and what is tested here
// relies on that. So one command at a time gets through: this relays between clients and a FerretDB
// on a unix socket, and holds a lock from a command to its answer.
package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/FerretDB/FerretDB/ferretdb"
)

const (
	headerBytes     = 16
	messageBytesMax = 48_000_000 // of the protocol
)

// A message of the wire protocol: its length, then three more numbers, then the rest.
func readMessage(from io.Reader) ([]byte, error) {
	var head [headerBytes]byte
	if _, err := io.ReadFull(from, head[:]); err != nil {
		return nil, err
	}
	size := binary.LittleEndian.Uint32(head[:4])
	if size < headerBytes || size > messageBytesMax {
		return nil, errors.New("not a message")
	}
	message := make([]byte, size)
	copy(message, head[:])
	_, err := io.ReadFull(from, message[headerBytes:])
	return message, err
}

// Commands of one client, each with its answer, until either side ends.
func relay(client net.Conn, socket string, one *sync.Mutex) {
	defer client.Close()
	server, err := net.Dial("unix", socket)
	if err != nil {
		return
	}
	defer server.Close()
	for {
		command, err := readMessage(client)
		if err != nil {
			return
		}
		one.Lock()
		var answer []byte
		if _, err = server.Write(command); err == nil {
			answer, err = readMessage(server)
		}
		one.Unlock()
		if err != nil {
			return
		}
		if _, err = client.Write(answer); err != nil {
			return
		}
	}
}

func waitFor(socket string) error {
	for tries := 0; ; tries++ {
		conn, err := net.Dial("unix", socket)
		if err == nil {
			return conn.Close()
		}
		if tries == 1000 {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// A port that was ours before may be someone's outgoing connection's for a moment.
func listen(address string) (net.Listener, error) {
	for tries := 0; ; tries++ {
		listener, err := net.Listen("tcp", address)
		if !errors.Is(err, syscall.EADDRINUSE) || tries == 100 {
			return listener, err
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func serve(folder, address string) error {
	socket := filepath.Join(folder, "socket")
	if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err // left by one that was killed
	}
	db, err := ferretdb.New(&ferretdb.Config{
		Listener:  ferretdb.ListenerConfig{Unix: socket},
		Handler:   "sqlite",
		SQLiteURL: "file:" + folder + "/",
		Logger:    slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
	})
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- db.Run(ctx) }()
	if err = waitFor(socket); err != nil {
		return err
	}
	listener, err := listen(address)
	if err != nil {
		return err
	}
	fmt.Println(listener.Addr())
	go func() {
		for parent := os.Getppid(); os.Getppid() == parent; {
			time.Sleep(200 * time.Millisecond)
		}
		stop()
	}()
	go func() {
		<-ctx.Done()
		listener.Close()
	}()
	var one sync.Mutex
	for {
		client, err := listener.Accept()
		if err != nil {
			break
		}
		go relay(client, socket, &one)
	}
	select { // open connections are no reason to wait for long
	case err = <-ended:
	case <-time.After(time.Second):
	}
	return err
}

func main() {
	address := "127.0.0.1:0"
	if len(os.Args) == 3 {
		address = os.Args[2]
	} else if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: ferretdb FOLDER [HOST:PORT]")
		os.Exit(2)
	}
	if err := serve(os.Args[1], address); err != nil {
		fmt.Fprintln(os.Stderr, "ferretdb:", err)
		os.Exit(1)
	}
}
