DROP TABLE report;
DROP TABLE quote;
