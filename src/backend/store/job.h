/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Job: a list of statements with their values, made on the loop and run by the writer. Private to store/. */

#include <sqlite3.h>

#include "backend/store/store.h"

struct sonde_store_value {
	char type; /* 't', 'i', 'b', 'n' */
	int64_t number;
	void *data; /* 't', 'b'; owned */
	size_t n;
};

#define SONDE_STORE_VALUES_MAX 24

struct sonde_store_op {
	struct sonde_store_op *next;
	enum sonde_store_statement statement;
	unsigned n_values;
	struct sonde_store_value values[];
};

struct sonde_store_job {
	struct sonde_store_job *next;
	struct sonde_store_op *first, **last;
	size_t bytes;
	sonde_store_done_fn done;
	void *ctx;
	int error;	  /* set by the writer */
	uint64_t deleted; /* rows, by statements of retention; set by the writer */
};

/* Runs on the writer thread, within its transaction. Return: 0, -errno; half of a failed job is rolled back by the caller. */
int sonde_store_job_run(struct sonde_store_job *j,
			sqlite3_stmt *const statements[_SONDE_STORE_STATEMENT_MAX]) _must_check_;
