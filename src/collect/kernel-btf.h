/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Kernel BTF: what the running kernel says of its tracepoints and enums, asked
 * before anything is loaded. Tracepoint arguments move between kernels, and a
 * program that loads can still read the wrong one.
 *
 * Everything is found in one pass over the kernel's types and copied, because the
 * parsed BTF is 6 MB: it is freed before the questions' answers are used.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

struct btf;

#define SONDE_PROTOTYPE_ARGS_MAX 6

/*
 * A question after a prototype: @name and @function are asked, the rest is answered.
 * An argument is written as "sock*" (pointer to struct sock), "void*" or, for a
 * number, as its size in bytes ("4").
 */
struct sonde_prototype {
	const char *name; /* "tcp_probe", "tcp_sendmsg"; borrowed */
	bool function;	  /* else a tracepoint */
	bool found;
	uint32_t n_args; /* without the leading void * of btf_trace_*; more than MAX are not kept */
	char args[SONDE_PROTOTYPE_ARGS_MAX][32];
};

struct sonde_enum_names {
	char **names; /* by value; NULL where a value has none. Owned */
	size_t n;
};

void sonde_enum_names_done(struct sonde_enum_names *names);

/*
 * Answers @prototypes (in place) and, for each of the @enums, its names by value in @ret_names (values from
 * 1,024 up are left out), n_enums of both. Return: 0, -ENOMEM. What is not there is not found.
 */
int sonde_kernel_btf_ask(const struct btf *btf, struct sonde_prototype *prototypes, size_t n,
			 const char *const *enums, size_t n_enums,
			 struct sonde_enum_names *ret_names) _must_check_;

/* @path: "STRUCT.MEMBER" (also inside an anonymous part of it), "STRUCT.MEMBER.MEMBER" or "ENUM.VALUE". */
bool sonde_kernel_btf_has(const struct btf *btf, const char *path);

#define SONDE_KERNEL_BTF_FILE "/sys/kernel/btf/vmlinux"
#define SONDE_KERNEL_BTF_MAX (64UL * 1024 * 1024) /* bytes of an external file */

/* Where the running kernel is described. Both borrowed. */
struct sonde_kernel_btf_files {
	const char *own; /* NULL = SONDE_KERNEL_BTF_FILE */
	const char *
		external; /* for a kernel that shows none itself; NULL = none. Root's word that it is this kernel's */
};

/* The kernel shows its BTF itself. */
bool sonde_kernel_btf_is_own(const struct sonde_kernel_btf_files *files);

/*
 * The running kernel's, by its own word or else by the external file. Return: 0, -EOPNOTSUPP when there is neither (or
 * no BTF in it), -ENOMEM.
 */
int sonde_kernel_btf_load(const struct sonde_kernel_btf_files *files,
			  struct btf **ret) _must_check_;
