/* Records: what a callback leaves for the hub, 16 bytes for each event. The hub reads them when the step is over.
 *
 * A callback cannot fail, so the memory for its record exists before it can be called: each new handle and request makes
 * room for all that those in flight can report in one step. A stream can complete a read, its end, and its close; a request
 * one thing.
 */

#include "records.h"

void co_push(co_loop *loop, uint32_t slot, uint32_t generation, int result, uint32_t offset) {
    if (loop->count < loop->room) {
        co_record *record = (co_record *)loop->records + loop->count++;
        record->slot = slot;
        record->generation = generation;
        record->result = result;
        record->offset = (int32_t)offset;
    }
    uv_stop(&loop->uv);
}

/* Make room for the records of all handles and requests in flight. Returns 0 or UV_ENOMEM. */
int co_reserve(co_loop *loop) {
    uint32_t live = (loop->handles_created - loop->handles_freed) + (loop->requests_created - loop->requests_freed);
    uint32_t needed = 4 * (live + 16);
    if (needed <= loop->room) return 0;
    uint64_t room = needed * 2;
    char *records = realloc(loop->records, room * sizeof(co_record));
    if (!records) return UV_ENOMEM;
    loop->records = records;
    loop->room = room;
    return 0;
}
