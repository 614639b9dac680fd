/* A loop that goes on in the child of a fork. */

int co_loop_revive(co_loop *loop);
