#include "team.h"

#include <map>
#include <memory>

#if defined(__unix__) || defined(__APPLE__)
#include <unistd.h>
#endif

namespace sovitsd {

Team& shared_team(int threads) {
#if defined(__unix__) || defined(__APPLE__)
  const int process = getpid();  // a fork has none of its parent's threads
#else
  const int process = 0;
#endif
  // Never destroyed: at the end of the process its threads may have been stopped already.
  static auto& teams = *new std::map<std::pair<int, int>, std::unique_ptr<Team>>();
  static std::mutex mutex;
  std::lock_guard<std::mutex> lock(mutex);
  std::unique_ptr<Team>& team = teams[{process, threads}];
  if (!team) team = std::make_unique<Team>(threads);
  return *team;
}

}  // namespace sovitsd
