/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * BPF ids: the proof that nothing of ours is left in the kernel. Each id is
 * appended to <state>/bpf-ids before its program is attached, with the boot id
 * (an id of an earlier boot is nobody's) and the program's tag or the map's name
 * (an id that was given again is not ours), and removed when the kernel says
 * ENOENT; how many were so, and when, is kept beside them. Only CAP_SYS_ADMIN may ask by id; the worker never has it, so it
 * counts the BPF descriptors that it holds, and `sonde-probe --idle-proof` asks.
 * The file holds at most SONDE_BPF_IDS_MAX; the oldest go first. A lock on it
 * keeps the two apart.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "model/probe-msg.h"

#define SONDE_BPF_IDS_FILE "bpf-ids"
#define SONDE_BPF_IDS_MAX 4096
#define SONDE_BPF_IDS_TAG_MAX 32
#define SONDE_BPF_IDS_WAIT_NS 2000000000ULL

struct sonde_bpf_id {
	char kind; /* 'p' program, 'm' map, 'l' link */
	uint32_t id;
	char tag[SONDE_BPF_IDS_TAG_MAX]; /* program's tag in hex, map's name, or "-" */
};

/* What earlier proofs of this boot found gone. */
struct sonde_bpf_proved {
	uint64_t ids;
	int64_t wall_ms; /* of the last that found any */
};

/*
 * Makes and opens the file in the state folder. The worker gets it open, since its filter lets it open nothing
 * for writing. Return: descriptor, -ELOOP, -EINVAL (no regular file), -errno.
 */
int sonde_bpf_ids_open(int dir_fd) _must_check_;

/* Return: 0, -errno. @fd: of sonde_bpf_ids_open(), here and below. */
int sonde_bpf_ids_note(int fd, const struct sonde_bpf_id *id) _must_check_;

/* Drops what an earlier boot left and what is beyond the limit. *@ret_n: ids that remain. Return: 0, -errno. */
int sonde_bpf_ids_tidy(int fd, size_t *ret_n, struct sonde_bpf_proved *ret_proved) _must_check_;

/*
 * Asks the kernel for each id until all are gone or @wait_ns have passed; removes those that are.
 * @ret: ids_asked (0 = may not ask), ids_alive, wait_ns and bpf_fds_left are set, the rest is left alone.
 * Return: 0, -errno of the file.
 */
int sonde_bpf_ids_prove(int fd, uint64_t wait_ns, struct sonde_probe_idle *ret) _must_check_;

/* How many descriptors of this process are BPF programs, maps, links or BTF. Return: 0, -errno. */
int sonde_bpf_fds_count(uint32_t *ret) _must_check_;

/* One line of the file of boot @boot. Return: 0, -ESTALE (another boot), -EBADMSG. */
int sonde_bpf_ids_parse_line(const char *line, const char *boot,
			     struct sonde_bpf_id *ret) _must_check_;
