// All words of the page.

const many = (count, one, more) => `${count.toLocaleString("en")} ${count === 1 ? one : more}`;
const photographs = (count) => many(count, "photograph", "photographs");
const percent = (fraction) => `${Math.round(100 * fraction)} %`;
const clock = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "short" });
const monthName = new Intl.DateTimeFormat("en", { month: "long", year: "numeric", timeZone: "UTC" });

const answered = { yes: "yes", no: "no", unsure: "unsure", example: "example" };

export const words = {
  name: "seekloop",
  close: "Close",
  cancel: "Cancel",
  skip: "Skip to the photographs",
  sentence: (text) => text.slice(0, 1).toUpperCase() + text.slice(1),
  refused: (status) => `The server refused this (${status}).`,
  lost: "The server does not respond. Nothing is lost: your answers are kept here and sent as soon as it is back.",
  lostWaiting: (count) => `${many(count, "answer waits", "answers wait")} to be sent.`,
  back: "The server responds again.",
  gone: "This search was deleted.",
  noSuch: "There is no such search any more.",
  photographs,
  when: (text) => (text ? clock.format(new Date(text)) : ""),
  month: (text) => (text ? monthName.format(new Date(`${text}-01T00:00:00Z`)) : "Without a date"),

  collection: {
    size: (name, images) => `${name}: ${photographs(images)}`,
    indexing: (done, total) => `Looking at the photographs: ${done.toLocaleString("en")} of ${total.toLocaleString("en")}`,
    left: (seconds) =>
      seconds === null || seconds === undefined
        ? ""
        : seconds < 90
          ? `about ${many(Math.max(1, Math.round(seconds)), "second", "seconds")} left`
          : `about ${many(Math.round(seconds / 60), "minute", "minutes")} left`,
    soFar: "Searches find what has been looked at so far.",
    failed: "Looking at the photographs failed.",
    unreadable: (count) => `${photographs(count)} could not be read.`,
    empty: "The photographs are not ready yet. They appear here as soon as the first have been looked at.",
    adviceTitle: "For first steps",
  },

  start: {
    title: "What are you looking for?",
    how: "Choose a photograph that shows it. Then draw a box around it.",
    tabs: { folders: "Folders", dates: "Dates", groups: "Overview", words: "Words", file: "A file" },
    tabsLabel: "Ways to choose a photograph",
    all: "All photographs",
    folder: (name, images) => `${name} (${images.toLocaleString("en")})`,
    up: "Path of the folder",
    month: "Month",
    anyMonth: (total) => `Any month (${total.toLocaleString("en")})`,
    monthOption: (name, images) => `${name} (${images.toLocaleString("en")})`,
    none: "There are no photographs here.",
    more: "Loading more",
    groups: "One typical photograph for each group of similar ones. Choose a group to see all of it.",
    groupsBack: "All groups",
    group: (images) => photographs(images),
    drop: "Drop a photograph here",
    file: "Choose a file",
    fileHow: "The photograph is used for this search only. It does not become a part of the collection.",
    uploading: "Reading the photograph",
    words: "Describe it",
    wordsExample: "a red bicycle",
    wordsGo: "Search by words",
    boxTitle: "Draw a box around what you are looking for",
    search: "Search",
    choose: (path) => `Choose ${path}`,
  },

  earlier: {
    title: "Earlier searches",
    none: "None yet. Every search is kept here, with each answer.",
    untitled: "Untitled search",
    summary: (round, found) => `Round ${round}, ${found.toLocaleString("en")} found`,
    open: (title) => `Go on with ${title}`,
    import: "Import a search",
  },

  box: {
    label: "Box on the photograph. Arrows move it, shift and arrows size it, Enter accepts it.",
    how: "Drag to draw. Drag edges and corners to correct. Keys: arrows move, shift + arrows size, Enter accepts.",
    at: (box) =>
      box
        ? `Box: left ${percent(box[0])}, top ${percent(box[1])}, width ${percent(box[2] - box[0])}, height ${percent(box[3] - box[1])}`
        : "No box: the whole picture",
    whole: "Whole picture",
    named: "Name of the search",
    namedExample: "may stay empty",
    answerTitle: "Where is it?",
    answerAccept: "Yes, it is here",
    exampleTitle: "Draw a box around the example",
    exampleAccept: "Add example",
  },

  search: {
    toSearches: "Searches",
    round: (round) => `Round ${round}`,
    found: (count) => `${count.toLocaleString("en")} found`,
    words: (text) => `Words: ${text}`,
    criterion: "Which photographs to ask about",
    otherCriteria: "Other",
    otherCriteriaLabel: "Other ways to choose the photographs",
    undo: "Undo",
    undone: (text) => `Undone: ${text}`,
    example: "Add an example",
    exampleTitle: "Choose a photograph that shows it too",
    exampleAdded: "The example was added.",
    export: "Export",
    more: "More",
    rename: "Rename",
    renameLabel: "Name of the search",
    save: "Save",
    fork: "Make a copy to try something else",
    forked: "This is the copy.",
    finish: "Write a report",
    finishTitle: "Write a report",
    finishAbout: "Repeats the search from its answers, and writes its tables and figures to a folder. The search stays as it is.",
    finishGo: "Write",
    finished: "The report was written",
    finishedAt: (folder) => `The report is in ${folder}`,
    remove: "Delete",
    removeTitle: "Delete this search?",
    removeAbout: (title, answers) => `“${title}” and its ${many(answers, "answer", "answers")} will be gone for good.`,
    keys: "Keys",
    learning: "Learning",
    untitled: "Untitled search",
  },

  question: {
    title: "Does it show what you are looking for?",
    list: "Photographs to answer",
    next: "Next round",
    left: (count) => `${many(count, "is", "are")} not answered`,
    all: "All answered",
    boxes: "All answered. Is the outline right?",
    auto: "Go on by itself",
    wait: "One moment: the next round",
    none: "There is nothing left to ask about.",
    came: (round, count) => `Round ${round}: ${photographs(count)}`,
    unansweredFirst: "Some are not answered yet. The button goes on without them.",
    boxWanted: "Is the outline right?",
    boxAccept: "Yes",
    boxCorrect: "Correct it",
    boxGiven: "Box given",
  },

  answer: {
    group: "Answer",
    yes: "Yes",
    no: "No",
    unsure: "Unsure",
    signs: { yes: "✓", no: "✕", unsure: "?", example: "★" },
    answered: (answer) => answered[answer] ?? "not answered",
    said: (file, answer) => (answer ? `${file}: ${answered[answer]}` : `${file}: answer withdrawn`),
    saidMany: (count, answer) => `${photographs(count)}: ${answered[answer]}`,
    selected: (count) => `${count.toLocaleString("en")} selected`,
    clear: "Clear selection",
    select: "Select",
    open: "Open large",
    card: ({ number, of, file, score, answer, selected, box }) =>
      [
        of ? `${number} of ${of}` : `${number}`,
        file,
        `score ${score}`,
        answered[answer] ?? "not answered",
        box && "with a box",
        selected && "selected",
      ]
        .filter(Boolean)
        .join(", "),
    score: "Score: above 0 is likely a yes",
  },

  viewer: {
    title: "Photograph",
    previous: "Previous",
    next: "Next",
    heat: "Heat map",
    outline: "Outline",
    box: "Draw the box",
    example: "Use as example",
    score: (text) => `Score ${text}`,
    broken: "This photograph cannot be shown.",
  },

  panels: { label: "Beside the question", ranking: "Ranking", said: "Said so far", progress: "How it goes" },
  widen: "Widen the list",
  narrow: "Narrow the list",

  ranking: {
    list: "Ranking, most likely first",
    cut: "Cut-off",
    cutValue: (count) => `${photographs(count)} above the line`,
    first: "First",
    of: (total) => `of ${total.toLocaleString("en")}`,
    atZero: (count) => `At score 0 (${count.toLocaleString("en")})`,
    accept: "Accept all above",
    acceptTitle: "Accept all above the line?",
    acceptAbout: (unanswered, above) =>
      `${photographs(unanswered)} without an answer, of ${above.toLocaleString("en")} above the line, will be answered yes.`,
    acceptGo: (count) => `Answer yes to ${count.toLocaleString("en")}`,
    acceptNone: "All photographs above the line are answered already.",
    none: "There is no ranking yet.",
  },

  said: {
    list: "Answers, newest first",
    show: "Show",
    all: "All",
    none: "Nothing yet.",
    round: (round) => (round ? `Round ${round}` : "At the start"),
    revoke: "Withdraw",
    revokeOf: (file) => `Withdraw the answer to ${file}`,
    correct: (file) => `Answer to ${file}`,
    options: { yes: "yes", no: "no", unsure: "unsure", example: "example" },
  },

  progress: {
    found: "Found",
    irrelevant: "Not it",
    unsure: "Unsure",
    precision: (round) => `Hits in round ${round}`,
    hits: (yes, asked) => `${yes} of ${asked}`,
    time: "Time answering",
    seconds: (seconds) =>
      seconds < 90 ? many(Math.round(seconds), "second", "seconds") : many(Math.round(seconds / 60), "minute", "minutes"),
    remaining: "Probably still to be found",
    remainingValue: (estimate) => `about ${Math.round(estimate).toLocaleString("en")}`,
    remainingRange: (low, high) =>
      `between ${Math.round(low).toLocaleString("en")} and ${Math.round(high).toLocaleString("en")}`,
    left: "Not answered yet",
    curve: "Found by round",
    curveText: (rounds) => `Found after each round: ${rounds.map(({ found }) => found).join(", ")}`,
    table: "As a table",
    columns: ["Round", "Asked", "Yes", "Hits", "Found"],
    percent: (fraction) => (fraction === null ? "–" : percent(fraction)),
  },

  export: {
    title: "Export",
    format: "As",
    formats: {
      csv: "CSV, a table for spreadsheets",
      json: "JSON, which can be imported again",
      coco: "COCO, with the boxes",
      xmp: "XMP sidecars with keywords, for digiKam, Lightroom, darktable",
      links: "A folder with links to the photographs, on the server’s disk",
      copies: "A folder with copies of the photographs, on the server’s disk",
    },
    above: (count) => `Also what is above the cut-off of the ranking (${photographs(count)})`,
    go: "Export",
    written: (files, folder, skipped) =>
      [`${many(files, "file was", "files were")} written to ${folder}`, skipped.length && `left out: ${skipped.join(", ")}`]
        .filter(Boolean)
        .join("; "),
    downloaded: (name) => `${name} was downloaded.`,
  },

  help: {
    title: "Keys",
    keys: [
      ["← ↑ → ↓", "go from photograph to photograph"],
      ["y  n  u", "answer yes, no, unsure, and go on"],
      ["y", "a second time: the outline is right"],
      ["Backspace", "withdraw the answer"],
      ["b", "draw the box; the best region is proposed"],
      ["e", "use the photograph as an example"],
      ["o", "open it large"],
      ["h", "show or hide the heat map"],
      ["Space", "select; shift + arrows or shift + click select several"],
      ["a", "select all that are not answered"],
      ["Esc", "clear the selection, or close a dialog"],
      ["Enter", "next round"],
      ["z", "undo"],
      ["?", "show these keys"],
    ],
  },
};
