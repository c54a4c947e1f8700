/* SPDX-License-Identifier: Apache-2.0 */
#include "uring.h"

#include <errno.h>
#include <linux/io_uring.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static uint32_t *word(const struct uring *u, uint32_t offset)
{
	return (uint32_t *)(void *)(u->rings + offset);
}

static int map_rings(struct uring *u, const struct io_uring_params *p)
{
	size_t sq = p->sq_off.array + p->sq_entries * sizeof(uint32_t);
	size_t cq = p->cq_off.cqes + p->cq_entries * sizeof(struct io_uring_cqe);
	void *map;

	if (!(p->features & IORING_FEAT_SINGLE_MMAP))
		return -EOPNOTSUPP;
	u->rings_bytes = sq > cq ? sq : cq;
	map = mmap(NULL, u->rings_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, u->fd,
		   IORING_OFF_SQ_RING);
	if (map == MAP_FAILED)
		return -errno;
	u->rings = map;
	u->entries_bytes = p->sq_entries * sizeof(struct io_uring_sqe);
	map = mmap(NULL, u->entries_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, u->fd,
		   IORING_OFF_SQES);
	if (map == MAP_FAILED)
		return -errno;
	u->entries = map;
	return 0;
}

int uring_open(struct uring *u)
{
	struct io_uring_params p = {0};
	int r;

	*u = (struct uring){.fd = (int)syscall(SYS_io_uring_setup, 1, &p)};
	if (u->fd < 0)
		return -errno;
	r = map_rings(u, &p);
	if (r < 0) {
		uring_close(u);
		return r;
	}
	u->sq_tail = p.sq_off.tail;
	u->sq_array = p.sq_off.array;
	u->sq_mask = *word(u, p.sq_off.ring_mask);
	u->cq_head = p.cq_off.head;
	u->cq_tail = p.cq_off.tail;
	u->cq_mask = *word(u, p.cq_off.ring_mask);
	u->cqes = p.cq_off.cqes;
	return 0;
}

void uring_close(struct uring *u)
{
	if (u->rings)
		(void)munmap(u->rings, u->rings_bytes);
	if (u->entries)
		(void)munmap(u->entries, u->entries_bytes);
	if (u->fd >= 0)
		(void)close(u->fd);
	*u = (struct uring){.fd = -1};
}

/* The ring's entry is filled. Return: its result. */
static int submit(struct uring *u)
{
	const struct io_uring_cqe *done;
	uint32_t tail = *word(u, u->sq_tail), head = *word(u, u->cq_head);

	word(u, u->sq_array)[tail & u->sq_mask] = 0;
	__atomic_store_n(word(u, u->sq_tail), tail + 1, __ATOMIC_RELEASE);
	if (syscall(SYS_io_uring_enter, u->fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) < 0)
		return -errno;
	if (__atomic_load_n(word(u, u->cq_tail), __ATOMIC_ACQUIRE) == head)
		return -EIO;
	done = (const struct io_uring_cqe *)(const void *)(u->rings + u->cqes);
	done += head & u->cq_mask;
	__atomic_store_n(word(u, u->cq_head), head + 1, __ATOMIC_RELEASE);
	return done->res;
}

static struct io_uring_sqe *begin(struct uring *u, uint8_t opcode, int fd)
{
	struct io_uring_sqe *e = u->entries;

	memset(e, 0, sizeof(*e));
	e->opcode = opcode;
	e->fd = fd;
	return e;
}

static int move_bytes(struct uring *u, struct io_uring_sqe *e, void *bytes, uint32_t n)
{
	e->addr = (uint64_t)(uintptr_t)bytes;
	e->len = n;
	return submit(u);
}

int uring_move(struct uring *u, bool send, int fd, void *bytes, uint32_t n)
{
	return move_bytes(u, begin(u, send ? IORING_OP_SEND : IORING_OP_RECV, fd), bytes, n);
}

int uring_register(struct uring *u, int fd)
{
	int32_t table[1] = {fd};

	if (syscall(SYS_io_uring_register, u->fd, IORING_REGISTER_FILES, table, 1) < 0)
		return -errno;
	return 0;
}

int uring_move_direct(struct uring *u, bool send, void *bytes, uint32_t n)
{
	struct io_uring_sqe *e = begin(u, send ? IORING_OP_SEND : IORING_OP_RECV, 0);

	e->flags = IOSQE_FIXED_FILE;
	return move_bytes(u, e, bytes, n);
}

int uring_accept(struct uring *u, int listener, bool direct)
{
	struct io_uring_sqe *e = begin(u, IORING_OP_ACCEPT, listener);

	if (direct)
		e->file_index = 1; /* the first, from 1 */
	else
		e->accept_flags = SOCK_CLOEXEC;
	return submit(u);
}
