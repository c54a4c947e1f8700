/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What spool.c (the queue) and spool-open.c (what a folder holds at the start) share. */

#include "export/spool-files.h"
#include "export/spool.h"

#define SONDE_SPOOL_HEAD_AND_META_MAX (SONDE_SPOOL_HEAD_BYTES + SONDE_SPOOL_META_MAX)

struct sonde_segment {
	uint64_t number;
	uint64_t bytes;	  /* good ones: a torn tail is not among them */
	uint64_t records; /* that wait in it */
};

/* The look at what a folder holds, which is taken in parts. */
struct sonde_spool_look {
	bool found;	      /* the cursor was there */
	size_t segment, kept; /* which is looked at; how many stay in the list */
	int fd;		      /* of that; -1: not opened yet */
	uint64_t at, bytes;   /* where in it; its size */
};

struct sonde_spool {
	struct sonde_spool_config config;
	struct sonde_spool_handler handler;
	char *dir;
	uint64_t segment_bytes;
	int dir_fd, lock_fd, cursor_fd;
	struct sonde_segment *segments; /* the oldest first */
	size_t n;
	int read_fd;		    /* of segments[0] */
	int write_fd;		    /* of the last; -1: the next put makes one */
	struct sonde_cursor cursor; /* at segments[0], where there is one */
	uint64_t next_number;
	uint64_t own_number; /* the first of this run: segments before it are of an earlier one */
	uint64_t doubtful;   /* of this segment the cursor is lost; 0: of none */
	uint64_t head_bytes; /* of the record at the cursor; 0: not read yet */
	bool held;	     /* … is the caller's */
	bool detached;	     /* it is, and its segment is gone */
	int read_error;	     /* the last one that was told; 0 after a read that succeeded */
	unsigned io_errors;  /* in a row, at the cursor */
	struct sonde_spool_look look;
	struct sonde_spool_stats stats;
};

void sonde_spool_tell(const struct sonde_spool *s, const char *fmt, ...) _printf_(2, 3);
int sonde_spool_write_cursor(struct sonde_spool *s);
/* The cursor at the beginning of the oldest segment, or of the one that will be made. */
void sonde_spool_rewind(struct sonde_spool *s);
/* No time will mend it: damaged, cut, gone, or none of this agent's. Any other error may pass, and costs no report. */
bool sonde_spool_is_damage(int error);
/* Takes the oldest segment out of the list and off the disk. What it still holds is the caller's to tell first. */
void sonde_spool_remove_first(struct sonde_spool *s);
