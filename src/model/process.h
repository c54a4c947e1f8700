/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Process: one OS process under its SkyWalking names. Several processes (a
 * master and its workers) may carry the same names and then the same id. Truly
 * shared between the finder, tasks and reports in flight, hence counted
 * references. Immutable but for the id, which the server gives later, and the
 * command, which the program may write. One thread.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

#define SONDE_PROCESS_ID_MAX 65 /* with NUL: 64 hex digits */
/* OAP cuts service and instance names at 70 of Java's characters; what it makes of a longer one is not told. */
#define SONDE_PROCESS_NAME_UNITS 70				  /* of UTF-16 */
#define SONDE_PROCESS_NAME_MAX (SONDE_PROCESS_NAME_UNITS * 3 + 1) /* bytes with NUL */
#define SONDE_PROCESS_LABELS_MAX 16
#define SONDE_PROCESS_LAYER_MAX 33
#define SONDE_PROCESS_COMMAND_MAX 256

struct sonde_process {
	unsigned refs;
	uint32_t pid;
	uint64_t start_ticks; /* field 22 of stat: with the pid the identity of a process */
	char id[SONDE_PROCESS_ID_MAX]; /* "" until the server named it */
	uint64_t id_mono_ns;	       /* when it did */
	char service[SONDE_PROCESS_NAME_MAX];
	char instance[SONDE_PROCESS_NAME_MAX];
	char name[SONDE_PROCESS_NAME_MAX];
	char layer[SONDE_PROCESS_LAYER_MAX];
	char command[SONDE_PROCESS_COMMAND_MAX]; /* command line, cut, for people */
	char **labels;				 /* owned; n_labels */
	size_t n_labels;
	bool cut; /* a name was longer than SONDE_PROCESS_NAME_UNITS */
};

/* One reference. *@ret on success only. Return: 0, -ENOMEM. */
int sonde_process_new(uint32_t pid, uint64_t start_ticks, struct sonde_process **ret) _must_check_;
struct sonde_process *sonde_process_ref(struct sonde_process *p);
/* NULL is fine. Returns NULL. */
struct sonde_process *sonde_process_unref(struct sonde_process *p);
SONDE_DEFINE_CLEANUP(struct sonde_process *, sonde_process_unref)

/*
 * Copies a name so that it fits @size with its NUL: cut at a whole UTF-8 character, control bytes and
 * broken UTF-8 become '_'. Never empty: "" becomes "_".
 */
void sonde_process_set_name(char *dst, size_t size, const char *src);

/*
 * The same for service, instance and process names: cut at SONDE_PROCESS_NAME_UNITS of UTF-16, a whole
 * character. Return: true if it was cut.
 */
bool sonde_process_set_entity(char dst[SONDE_PROCESS_NAME_MAX], const char *src);

/* Copies @n labels in the place of the old ones, each made whole as a name is. Return: 0, -ENOSPC, -ENOMEM. */
int sonde_process_set_labels(struct sonde_process *p, char *const *labels, size_t n) _must_check_;
