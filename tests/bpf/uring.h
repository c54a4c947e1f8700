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
