/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* An io_uring of one entry, by its system calls: what a test needs of it. Test programs only. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct uring {
	int fd;
	uint8_t *rings; /* of both queues */
	size_t rings_bytes;
	void *entries; /* struct io_uring_sqe */
	size_t entries_bytes;
	uint32_t sq_tail, sq_array, cq_head, cq_tail, cqes; /* offsets into rings */
	uint32_t sq_mask, cq_mask;
};

/* Return: 0, -errno (-ENOSYS, -EPERM: not here). */
int uring_open(struct uring *u);
void uring_close(struct uring *u);
/* One send(2) or recv(2) as an operation of the ring, waited for. Return: its result. */
int uring_move(struct uring *u, bool send, int fd, void *bytes, uint32_t n);

/*
 * A table of one direct descriptor. @fd: what it holds from now on, or -1: nothing yet. Return: 0, -errno.
 * A direct accept fills it; the ring then holds the only reference.
 */
int uring_register(struct uring *u, int fd);
/* As uring_move(), on the direct descriptor. */
int uring_move_direct(struct uring *u, bool send, void *bytes, uint32_t n);
/* Return: the descriptor, 0 where @direct, -errno. */
int uring_accept(struct uring *u, int listener, bool direct);
