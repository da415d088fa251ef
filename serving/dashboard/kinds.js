// What a task's kind shows: the tiles of a device, a point in words, the labels of the axis.

import { number, percent, timeOfDay, verdict } from "./text.js";

const share = (value, digits = 1) => (value === null || value === undefined ? "–" : `${(100 * value).toFixed(digits)} %`);
const name = (task, place) => task.classes[place] ?? "–";
const most = (...values) => values.filter((one) => one !== null && one !== undefined).sort().at(-1);
const due = (newest) => (newest && newest.time !== null ? `Prediction for ${timeOfDay(newest.time)}` : "Prediction");
const skill = (score) => ["Skill", percent(score?.skill), verdict(score?.skill)];
// How often the label was within the interval.
function within(score) {
  const found = score?.scores.interval_coverage ?? null;
  return found === null ? [] : [["Within interval", share(found), "", "", "share of this device's labels that were within the interval around their prediction"]];
}

// Whom a mixture follows most.
function follows(score) {
  const [first] = Object.entries(score?.follows ?? {}).sort((a, b) => b[1] - a[1]);
  return first ? [["Follows", first[0], "", share(first[1], 0), "of the experts that its mixture follows, the one it follows most"]] : [];
}

function chance(point) {
  const known = point?.chances?.[point.said];
  return known === undefined || known === null ? "" : ` (${share(known, 0)})`;
}

// The value below which nine of ten of the shown ones are.
function ninth(points) {
  const values = points.map((one) => one.prediction).filter((one) => one !== null).sort((a, b) => a - b);
  return values.length ? values[Math.floor(0.9 * (values.length - 1))] : null;
}

const NUMBER = {
  tiles: (task, newest, points, score) => [
    [due(newest), number(newest?.prediction, task.unit)],
    ["Value when made", number(newest?.last, task.unit)],
    skill(score),
    ["Model error", number(score?.scores.mae, task.unit), "", "MAE", "mean absolute error over this device's labels"],
    ["Last-value error", number(score?.scores.persistence_mae, task.unit), "", "MAE", "what predicting the last value scores on the same labels"],
    ...within(score),
    ...follows(score),
  ],
  words: (task, one) => {
    const lines = [`prediction ${number(one.prediction, task.unit)}`];
    if (one.lower !== null) lines.push(`interval ${number(one.lower, task.unit)} to ${number(one.upper, task.unit)}`);
    if (one.label === null) return [...lines, "not known yet"];
    lines.push(`actual ${number(one.label, task.unit)}`);
    if (one.prediction !== null) lines.push(`residual ${number(one.label - one.prediction, task.unit)}`);
    return lines;
  },
  row: (task, { scores }) => [number(scores.mae, task.unit), number(scores.persistence_mae, task.unit)],
};

const CLASSES = {
  tiles: (task, newest, points, score) => [
    [due(newest), `${newest?.said ?? "–"}${chance(newest)}`],
    ["Class when made", newest ? name(task, newest.last) : "–"],
    skill(score),
    ["Accuracy", share(score?.scores.accuracy), "", "", "share of this device's labels that were told right"],
    ["Baseline", share(most(score?.scores.majority_accuracy, score?.scores.persistence_accuracy)), "", "", "the class seen most often, or the last one: the better of the two"],
    ["Macro F1", number(score?.scores.f1_macro), "", "", "the mean over classes of how well each is found and told"],
    ["ROC AUC", number(score?.scores.rolling_roc_auc), "", "", "how often a reading of a class got the higher probability of it than one of another class, of the last labels: 1 always, 0.5 by chance"],
  ],
  words: (task, one) => {
    const lines = [`prediction ${one.said ?? "–"}${chance(one)}`];
    return [...lines, one.label === null ? "not known yet" : `actual ${one.told ?? name(task, one.label)}`];
  },
  row: (task, { scores }) => {
    const best = most(scores.majority_accuracy, scores.persistence_accuracy);
    const wrong = (right) => (right === null || right === undefined ? "–" : `${share(1 - right)} wrong`);
    return [wrong(scores.accuracy), wrong(best)];
  },
  axis: name,
};

const SCORES = {
  tiles: (task, newest, points, score) => [
    ["Anomaly score", number(newest?.prediction)],
    ["Nine of ten are below", number(ninth(points)), "", "", "of the scores that are shown"],
    ["ROC AUC", number(score?.scores.rolling_roc_auc), "", "", "how often a labelled anomaly scored above a labelled normal reading: 1 always, 0.5 by chance"],
    ["PR AUC", number(score?.scores.rolling_pr_auc), "", "", "the share of labelled anomalies among what scores at least as high, averaged over the anomalies"],
  ],
  words: (task, one) => [`score ${number(one.prediction)}`, ...(one.label === null ? [] : [one.label > 0 ? "an anomaly, by its label" : "normal, by its label"])],
  row: () => ["–", "–"],
};

const CLUSTERS = {
  tiles: (task, newest, points, score) => [
    ["Cluster", newest?.prediction === null || !newest ? "–" : String(newest.prediction)],
    ["Distance from its centre", number(newest?.distance), "", "", "in the features that the model sees"],
    ["Silhouette", number(score?.scores.silhouette), "", "", "how much nearer readings are to the centre of their cluster than to the next one: 1 at best, 0 between two"],
    ["Clusters shown", String(new Set(points.map((one) => one.prediction)).size)],
  ],
  words: (task, one) => [`cluster ${one.prediction ?? "–"}`, `distance ${number(one.distance)}`],
  row: () => ["–", "–"],
  axis: (task, place) => String(place),
};

const KINDS = { classification: CLASSES, anomaly: SCORES, clustering: CLUSTERS };

export const kindOf = (task) => KINDS[task?.kind] ?? NUMBER;
